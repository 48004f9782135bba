package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/joining"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/node/api"
)

const (
	demoLimit  = 40 * 60 // minutes either way
	demoReview = "2026-09-30"
)

// demoSteps is about how many requests the story takes, for the progress bar.
func demoSteps() int64 {
	n := 53
	for _, c := range []demoCircle{hebdenBridge(), blackshawHead(), hubCircle()} {
		n += 2 * len(c.people)
	}
	return int64(n)
}

// step is one request of the story.
type step struct {
	who, name, kind string
	body            any
}

// play opens the nodes and plays everything; what was played before is only repeated.
func (d *demo) play(ctx context.Context) (demoResult, error) {
	var err error
	for _, x := range []struct {
		into   **player
		circle demoCircle
	}{{&d.hub, hubCircle()}, {&d.hb, hebdenBridge()}, {&d.bh, blackshawHead()}} {
		if *x.into, err = d.open(ctx, x.circle); err != nil {
			return demoResult{}, err
		}
		if err := (*x.into).gather(ctx); err != nil {
			return demoResult{}, err
		}
	}
	if err := d.meet(ctx); err != nil {
		return demoResult{}, err
	}
	if err := d.hebdenStory(ctx); err != nil {
		return demoResult{}, err
	}
	if err := d.blackshawStory(ctx); err != nil {
		return demoResult{}, err
	}
	if err := d.beFound(ctx); err != nil {
		return demoResult{}, err
	}
	cases, err := d.crossings(ctx)
	if err != nil {
		return demoResult{}, err
	}
	return d.result(ctx, cases)
}

func (p *player) all(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if _, err := p.do(ctx, s.who, s.name, s.kind, s.body, nil); err != nil {
			return err
		}
	}
	return nil
}

// policy is the coin policy both circles decided.
func (p *player) policy(decision string) step {
	return step{p.circle.founder, "coin policy", "coin.policy", coin.SetPolicy{
		FloorMinutes: -5 * 60, WelcomeMinutes: 10 * 60, AutoGift: true, EarnDayMinutes: 12 * 60,
		ReviewOn: demoReview, Decision: decision,
	}}
}

// meet has the circles join the hub's federation, find each other, and make their alliance.
func (d *demo) meet(ctx context.Context) error {
	if _, err := d.hub.do(ctx, d.hub.circle.founder, "office", "hub.open", hub.Open{}, nil); err != nil {
		return err
	}
	circles := []*player{d.hb, d.bh}
	for _, p := range circles {
		if err := d.join(ctx, p); err != nil {
			return err
		}
	}
	err := until(ctx, "the circles know each other", func() (bool, error) {
		for _, p := range circles {
			if all, err := p.alliances(ctx); err != nil || len(all) < len(circles) {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	if err := d.giveSupport(ctx, circles); err != nil {
		return err
	}
	ally := func(p, with *player, decision string) error {
		_, err := p.do(ctx, p.circle.founder, "alliance", "exchange.ally", exchange.Ally{
			Circle: string(with.node.Keys.CircleID()), LimitMinutes: demoLimit, ReviewOn: demoReview,
			Decision: decision,
		}, nil)
		return err
	}
	if err := errors.Join(ally(d.bh, d.hb, "BH-7"), ally(d.hb, d.bh, "HB-11")); err != nil {
		return err
	}
	return until(ctx, "the alliance is in force", func() (bool, error) {
		for _, p := range []*player{d.hb, d.bh} {
			all, err := p.alliances(ctx)
			if err != nil {
				return false, err
			}
			inForce := false
			for _, a := range all {
				inForce = inForce || a.State == "in-force"
			}
			if !inForce {
				return false, nil
			}
		}
		return true, nil
	})
}

// join has the hub invite a circle, and the circle go by the invitation. Its secret is always the same, so
// that a demo that begins once more repeats it.
func (d *demo) join(ctx context.Context, p *player) error {
	card, err := charter.ParseText(d.hub.node.CardText())
	if err != nil {
		return err
	}
	drawn := sha256.Sum256(append(d.hub.node.Keys.Circle.Seed(), p.circle.dir...))
	secret := drawn[:charter.SecretBytes]
	_, err = d.hub.do(ctx, d.hub.circle.founder, "invite "+p.circle.dir, "joining.invite", joining.Invite{
		Secret: sha256.Sum256(secret), For: p.node.Config.Name, Days: 14, Decision: "CC-3",
	}, nil)
	if err != nil {
		return err
	}
	_, err = p.do(ctx, p.circle.founder, "join", "joining.join", joining.Join{
		Card: card, Secret: secret,
	}, nil)
	var refusal *machine.Error
	if errors.As(err, &refusal) && refusal.Code == "id_reused" { // with an earlier card of the hub's
		return nil
	}
	return err
}

// giveSupport has the hub say that the circles, which it has taken in by then, give support.
func (d *demo) giveSupport(ctx context.Context, circles []*player) error {
	for _, p := range circles {
		giving := joining.Set{
			Circle: string(p.node.Keys.CircleID()), Status: charter.Giving.String(), Decision: "CC-4",
		}
		_, err := d.hub.do(ctx, d.hub.circle.founder, p.circle.dir+" gives", "joining.set", giving, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) hebdenStory(ctx context.Context) error {
	p := d.hb
	err := p.all(ctx, []step{
		p.policy("HB-9 Care Coins"),
		{"Farida", "place", "coin.place", coin.AddPlace{Place: "repair-cafe", Name: "Repair cafe"}},
		{"Xavier", "auto-gift", "coin.autogift", coin.AutoGift{To: coin.Pool}},
	})
	for _, e := range []struct {
		who, what string
		coins     int64
		ago       int
	}{
		{"Wendy", "community lunch", 3, 9},
		{"Xavier", "office", 4, 8},
		{"Yvonne", "peer group", 2, 8},
		{"Ben", "hub garden", 6, 7},
	} {
		if err == nil {
			err = p.earn(ctx, e.who, e.coins, e.what, "Hebden Bridge", e.ago)
		}
	}
	if err != nil {
		return err
	}
	photo, err := gardenPicture()
	if err != nil {
		return err
	}
	if err := p.all(ctx, []step{
		{"Ben", "gift of the garden", "coin.give", coin.Give{
			To: coin.Pool, Minutes: 6 * 60, Note: machine.Text("", "The first beans of the year. Enjoy!"),
			Picture: &coin.Picture{
				Data: photo, Alt: machine.Text("", "Bean rows and sunflowers in the hub garden"),
			},
		}},
		{"Farida", "welcome Norah", "coin.welcome", coin.Welcome{Person: p.ids["Norah"]}},
		{"Norah", "company", "coin.pay", coin.Pay{To: p.ids["Alice"], Minutes: 2 * 60, Activity: "company"}},
		{"Norah", "a lift", "coin.pay", coin.Pay{To: p.ids["Dev"], Minutes: 60, Activity: "a lift"}},
	}); err != nil {
		return err
	}
	if err := p.earn(ctx, "Stanley", 2, "repair cafe teaching", "Repair cafe", 3); err != nil {
		return err
	}
	if err := p.all(ctx, []step{
		{"Stanley", "gift to the repair cafe", "coin.give", coin.Give{To: "place/repair-cafe", Minutes: 60}},
		{"Wendy", "code", "exchange.code", exchange.SetCode{Code: "WENDY234"}},
		{"Alice", "code", "exchange.code", exchange.SetCode{Code: "ALICE567"}},
	}); err != nil {
		return err
	}
	return p.earn(ctx, "Norah", 1, "telephone circle", "Hebden Bridge", 2)
}

func (d *demo) blackshawStory(ctx context.Context) error {
	p := d.bh
	err := p.all(ctx, []step{p.policy("BH-5 Care Coins")})
	for _, e := range []struct {
		who, what, place string
		coins            int64
	}{
		{"Gill", "village tea", "Village hall", 3},
		{"Hugo", "log store for the hall", "Village hall", 2},
		{"Moira", "minibus rota", "Blackshaw Head", 5},
	} {
		if err == nil {
			err = p.all(ctx, []step{{
				e.who, "auto-gift " + e.who, "coin.autogift",
				coin.AutoGift{To: coin.Pool},
			}})
		}
		if err == nil {
			err = p.earn(ctx, e.who, e.coins, e.what, e.place, 6)
		}
	}
	if err != nil {
		return err
	}
	return p.all(ctx, []step{
		{"Orla", "welcome Kitty", "coin.welcome", coin.Welcome{Person: p.ids["Kitty"]}},
		{"Irene", "code", "exchange.code", exchange.SetCode{Code: "IRENE234"}},
		{"Kitty", "Wendy's visit", "exchange.pay", exchange.Pay{
			Circle: string(d.hb.node.Keys.CircleID()), Code: "WENDY234", Minutes: 2 * 60, Activity: "visit",
		}},
	})
}

// crossings plays the gift between the circles, with its three cases.
func (d *demo) crossings(ctx context.Context) ([]demoCase, error) {
	if err := d.settled(ctx, d.bh, "Kitty"); err != nil {
		return nil, err
	}
	bhDir := d.bh.node.Dir
	if err := d.stop(d.bh.node); err != nil {
		return nil, err
	}
	gift := exchange.Pay{
		Circle: string(d.bh.node.Keys.CircleID()), Code: "IRENE234", Minutes: 60,
		Note: machine.Text("", "For your birthday, aunt"),
	}
	first, err := d.hb.do(ctx, "Alice", "gift to aunt Irene", "exchange.pay", gift, new(exchange.Paid))
	if err != nil {
		return nil, err
	}
	again, err := d.hb.do(ctx, "Alice", "gift to aunt Irene", "exchange.pay", gift, new(exchange.Paid))
	if err != nil {
		return nil, err
	}
	waiting, err := d.hb.paymentState(ctx, "Alice")
	if err != nil {
		return nil, err
	}
	n, err := d.start(ctx, bhDir)
	if err != nil {
		return nil, err
	}
	d.bh.node = n
	if err := d.settled(ctx, d.hb, "Alice"); err != nil {
		return nil, err
	}
	after, err := d.hb.paymentState(ctx, "Alice")
	if err != nil {
		return nil, err
	}
	tooMuch := gift
	tooMuch.Minutes = 8 * 60
	_, err = d.hb.do(ctx, "Alice", "gift of eight", "exchange.pay", tooMuch, nil)
	var refusal *machine.Error
	if !errors.As(err, &refusal) {
		return nil, fmt.Errorf("a gift of 8 coins with 1 held was not refused: %w", err)
	}
	return []demoCase{
		{Name: "gift of 8 coins with 1 held", Outcome: "refused", Code: refusal.Code, Says: refusal.Message},
		{
			Name:    "gift to Irene while Blackshaw Head is stopped",
			Outcome: waiting + ", then " + after, Code: first.ID,
			Says: "the coin waits until Blackshaw Head is back, then arrives once",
		},
		{
			Name: "the same request twice", Outcome: "one effect", Code: again.ID,
			Says: fmt.Sprintf("both answers name position %d; the second is a repeat: %t",
				first.Position, again.Repeated && again.Position == first.Position),
		},
	}, nil
}

func (p *player) alliances(ctx context.Context) ([]exchange.Alliance, error) {
	var out exchange.Alliances
	return out.Alliances, p.read(ctx, p.operator(), "exchange.alliances", &out)
}

func (p *player) read(ctx context.Context, as *api.Client, view string, into any) error {
	if err := as.View(ctx, view, nil, into); err != nil {
		return fmt.Errorf("%s: %s: %w", p.node.Config.Name, view, err)
	}
	return nil
}

// paymentState returns the state of a person's newest payment.
func (p *player) paymentState(ctx context.Context, who string) (string, error) {
	var out exchange.Payments
	if err := p.read(ctx, p.sessions[who], "exchange.payments", &out); err != nil {
		return "", err
	}
	if len(out.Payments) == 0 {
		return "", fmt.Errorf("%s has no payment", who)
	}
	return out.Payments[0].State, nil
}

func (d *demo) settled(ctx context.Context, p *player, who string) error {
	return until(ctx, who+"'s coins have arrived", func() (bool, error) {
		state, err := p.paymentState(ctx, who)
		return state == "settled", err
	})
}
