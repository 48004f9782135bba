package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/joining"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
)

const invitationDays = 14

// federationBody is what templates/circle/federation.html shows.
type federationBody struct {
	form
	Words   string // how the circle stands
	Circles []fellowCircle
	Join    *joinForm
	Invite  *inviteCircle
}

type fellowCircle struct {
	ID, FormID, Name, Place string
	State                   chip
	Statuses                []option // what it may be said to do; empty: that is not ours to say
}

type joinForm struct{ Invitation string }

type inviteCircle struct {
	Secret, For, Decision string
	Text, TextFor, Holds  string // straight after it was made
	Sent                  []sentInvitation
}

type sentInvitation struct{ For, Until string }

func (p *Pages) federation(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return p.showFederation(v, federationBody{form: f})
}

func (p *Pages) showFederation(v *visit, b federationBody) error {
	f, err := ask[joining.Federation](v, v.self(), "joining.federation", nil)
	if err != nil {
		return err
	}
	b.Words = federationWords(f)
	decides := v.wears(member.HatSecretary)
	b.Circles = []fellowCircle{}
	for _, c := range f.Circles {
		shown, err := p.fellow(c, decides && f.State == "hub")
		if err != nil {
			return err
		}
		b.Circles = append(b.Circles, shown)
	}
	if decides && f.State != "hub" && f.State != "in" && b.Join == nil {
		b.Join = &joinForm{}
	}
	if decides && f.State == "hub" {
		if err := p.readyInvitation(v, &b); err != nil {
			return err
		}
	}
	return v.show(b.status, "circle/federation", "Our federation", backToCircle, b)
}

func federationWords(f joining.Federation) string {
	switch f.State {
	case "hub":
		return "Our circle is the hub: it invites circles, and they all find each other through it."
	case "in":
		return "Our circle is in the federation of " + f.HubName + "."
	case "asking":
		return f.HubName + " is asked to take our circle in. The answer may take a minute or so; where the" +
			" hub is away just now, we go on asking."
	case "refused":
		return f.HubName + " did not take our circle in: " + f.Why
	case "left":
		return "Our circle has left the federation of " + f.HubName + "."
	default:
		return "Our circle is in no federation yet. Ask its hub for an invitation."
	}
}

func (p *Pages) fellow(c joining.Circle, may bool) (fellowCircle, error) {
	id, err := p.cfg.NewID()
	shown := fellowCircle{
		ID: c.Circle, FormID: id.String(), Name: c.Name, Place: c.Place, State: circleState(c.Status),
	}
	switch {
	case c.Us:
		shown.Name += " (our circle)"
	case c.Hub:
		shown.Name += " (the hub)"
	}
	if may && !c.Us {
		for _, s := range charter.Statuses {
			shown.Statuses = append(shown.Statuses, option{
				Value: s.String(), Text: circleState(s.String()).Text, Selected: s.String() == c.Status,
			})
		}
	}
	return shown, err
}

func circleState(status string) chip {
	switch status {
	case "giving":
		return chip{Text: "Gives support", Tone: "done"}
	case "founding":
		return chip{Text: "Has just begun", Tone: "waiting"}
	case "paused":
		return chip{Text: "Pauses", Tone: "waiting"}
	default:
		return chip{Text: "Has left", Tone: "back"}
	}
}

// readyInvitation draws the secret with the form, so that sending the form twice makes one invitation and
// shows it again.
func (p *Pages) readyInvitation(v *visit, b *federationBody) error {
	if b.Invite == nil {
		b.Invite = &inviteCircle{}
	}
	secret := make([]byte, charter.SecretBytes)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	b.Invite.Secret = hex.EncodeToString(secret)
	all, err := ask[joining.Invitations](v, v.by, "joining.invitations", nil)
	if err != nil {
		return err
	}
	b.Invite.Sent = []sentInvitation{}
	for _, i := range all.Invitations {
		if i.State == "open" {
			b.Invite.Sent = append(b.Invite.Sent, sentInvitation{For: i.For, Until: p.day(i.Until)})
		}
	}
	return nil
}

// joinFederation asks a hub to take the circle in.
func (p *Pages) joinFederation(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	b := federationBody{form: f, Join: &joinForm{Invitation: v.typed("invitation")}}
	invitation, _, err := charter.ParseInvitation(b.Join.Invitation)
	if err != nil {
		b.refuse("invitation",
			"This is not an invitation. Copy the whole of what the hub sent, from its first letter to its"+
				" last.")
		return p.showFederation(v, b)
	}
	_, err = do[exchange.Met](v, v.by, b.ID, "joining.join", joining.Join{
		Card: invitation.Card, Secret: invitation.Secret,
	})
	if err == nil {
		return v.done("/circle/federation", "federation-asked")
	}
	if err := b.take(v, err, fields{"own_card": "invitation", "bad_invitation": "invitation"}); err != nil {
		return err
	}
	return p.showFederation(v, b)
}

// inviteCircle makes an invitation. The answer is the page itself: the secret must not stand in an address.
func (p *Pages) inviteCircle(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	in := &inviteCircle{For: v.typed("invited"), Decision: v.typed("invite-decision")}
	b := federationBody{form: f, Invite: in}
	secret, err := hex.DecodeString(v.typed("secret"))
	if err != nil || len(secret) != charter.SecretBytes {
		return machine.Refuse("bad_request", "This form was not complete. Load the page again and retry.")
	}
	_, err = do[machine.None](v, v.by, b.ID, "joining.invite", joining.Invite{
		Secret: sha256.Sum256(secret), For: in.For, Days: invitationDays, Decision: in.Decision,
	})
	if err != nil {
		if err := b.take(v, err, fields{"bad_text": "invited"}); err != nil {
			return err
		}
		return p.showFederation(v, b)
	}
	card, err := p.cfg.OpenCard(p.cfg.Card())
	if err != nil {
		return err
	}
	if in.Text, err = (charter.Invitation{Card: card, Secret: secret}).Text(); err != nil {
		return err
	}
	in.TextFor, in.Holds, in.For, in.Decision = in.For, strconv.Itoa(invitationDays)+" days", "", ""
	if err := b.renew(v); err != nil { // of the next one
		return err
	}
	return p.showFederation(v, b)
}

// setCircle says what a circle of the federation is doing.
func (p *Pages) setCircle(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	b := federationBody{form: f}
	_, err = do[machine.None](v, v.by, b.ID, "joining.set", joining.Set{
		Circle: v.typed("circle"), Status: v.typed("status"),
	})
	if err == nil {
		return v.done("/circle/federation", "circle-set")
	}
	if err := b.take(v, err, fields{}); err != nil {
		return err
	}
	return p.showFederation(v, b)
}
