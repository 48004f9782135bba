package web

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
)

// alliesBody is what templates/circle/allies.html shows.
type alliesBody struct {
	form
	OurCard string
	Card    string // as pasted
	Others  []knownCircle
}

// knownCircle is another circle and how it stands with ours; Consent is the form where it can be given.
type knownCircle struct {
	alliance
	Words   string
	Compare string // address; empty: there is nothing to compare yet
	Consent *consentForm
}

type consentForm struct {
	ID, Circle, Coins, ReviewOn, Decision string
}

func (p *Pages) allies(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return p.showAllies(v, alliesBody{form: f}, consentForm{})
}

func (p *Pages) showAllies(v *visit, b alliesBody, typed consentForm) error {
	if !v.wears(member.HatSecretary) {
		return machine.Refuse("hat_missing", "This page is for people who wear the hat of the Secretary.")
	}
	known, err := ask[exchange.Alliances](v, v.self(), "exchange.alliances", nil)
	if err != nil {
		return err
	}
	b.OurCard, b.Others = p.cfg.Card(), []knownCircle{}
	links := p.cfg.Links()
	for _, a := range known.Alliances {
		k := knownCircle{alliance: p.alliance(a, links)}
		switch a.State {
		case "known":
			k.Words = "If your circle has decided to exchange coins with them, write it down here."
		case "offered-by-us":
			k.Words = "You agreed. It comes into force when they agree to the same limit and day of review."
		case "offered-by-them":
			k.Words = "They agreed to " + coins(a.LimitMinutes) + " either way, with a review on " +
				writtenDay(a.ReviewOn) + ". It comes into force when you write down the same."
		}
		if a.Since != 0 {
			k.Compare = "/circle/compare?circle=" + a.Circle
		}
		if k.Words != "" {
			if k.Consent, err = p.consentOf(a, typed); err != nil {
				return err
			}
		}
		b.Others = append(b.Others, k)
	}
	return v.show(b.status, "circle/allies", "Other circles", backToCircle, b)
}

func (p *Pages) consentOf(a exchange.Alliance, typed consentForm) (*consentForm, error) {
	if typed.Circle == a.Circle {
		return &typed, nil
	}
	id, err := p.cfg.NewID()
	f := &consentForm{ID: id.String(), Circle: a.Circle, ReviewOn: a.ReviewOn}
	if a.LimitMinutes > 0 {
		f.Coins = bareCoins(a.LimitMinutes)
	}
	return f, err
}

func (p *Pages) meet(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	b := alliesBody{Card: v.typed("card")}
	var err error
	if b.form, err = v.sentForm(); err != nil {
		return err
	}
	sealed, err := p.cfg.OpenCard(b.Card)
	if err != nil {
		if charter.IsInvitation(b.Card) {
			b.refuse("card", "This is an invitation to a federation. Paste it on the page Our federation.")
			return p.showAllies(v, b, consentForm{})
		}
		b.refuse("card",
			"This is not a circle's card. Copy the whole of what the other circle sent, from its first"+
				" letter to its last.")
		return p.showAllies(v, b, consentForm{})
	}
	_, err = do[exchange.Met](v, v.by, b.ID, "exchange.meet", exchange.Meet{Card: sealed})
	if err != nil {
		of := fields{"bad_card": "card", "own_card": "card", "old_card": "card"}
		if err := b.take(v, err, of); err != nil {
			return err
		}
		return p.showAllies(v, b, consentForm{})
	}
	return v.done("/circle/allies", "met")
}

func (p *Pages) consent(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	typed := consentForm{
		ID: v.typed("id"), Circle: v.typed("circle"), Coins: v.typed("coins"), ReviewOn: v.typed("review"),
		Decision: v.typed("decision"),
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	of := fields{
		"bad_amount": "coins-" + typed.Circle, "bad_policy": "review-" + typed.Circle,
		"bad_text": "decision-" + typed.Circle,
	}
	again := func() error {
		meet, err := v.newForm()
		if err != nil {
			return err
		}
		typed.ID = f.ID
		f.ID = meet.ID
		return p.showAllies(v, alliesBody{form: f}, typed)
	}
	limit, sentence := minutesOf(typed.Coins)
	if sentence != "" {
		f.refuse(of["bad_amount"], sentence)
		return again()
	}
	got, err := do[exchange.Allied](v, v.by, typed.ID, "exchange.ally", exchange.Ally{
		Circle: typed.Circle, LimitMinutes: limit, ReviewOn: typed.ReviewOn, Decision: typed.Decision,
	})
	switch {
	case err != nil:
		if err := f.take(v, err, of); err != nil {
			return err
		}
		return again()
	case got.InForce:
		return v.done("/circle/allies", "allied")
	default:
		return v.done("/circle/allies", "offered")
	}
}
