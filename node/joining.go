package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/joining"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

const (
	joinEvery    = 5 * time.Second
	charterEvery = 2 * time.Second
	charterParts = charter.MaxCircles/courier.MaxCircleCards + 2 // at most asked for in a row

	knocksPerSecond = 1
	knocksAtOnce    = 10
)

// federation asks to be taken into one where the circle wants that, and keeps its charter up to date.
func (c *cards) federation(ctx context.Context) error {
	var join, named, here, ownDue bool
	err := c.letters.circle.Read(func(r machine.Reader) error {
		_, join = joining.JoinFor(r, nil)
		_, named = joining.AskFor(r, "", nil, 0)
		here = hub.Opened(r)
		return nil
	})
	if err != nil || !join && !named && !here {
		return err
	}
	sealed := *c.letters.card.Load()
	card, err := charter.OpenCard(sealed)
	if err == nil {
		err = c.letters.circle.Read(func(r machine.Reader) error {
			ownDue = joining.OwnDue(r, card.Seq)
			return nil
		})
	}
	switch {
	case err != nil:
		return err
	case join:
		c.beside(ctx, "join", joinEvery, func() error { return c.join(ctx, sealed, card.Seq) })
	case ownDue:
		c.beside(ctx, "own card", joinEvery, func() error {
			_, err := c.letters.asNode(ctx, "joining.card", joining.Card{Card: sealed})
			return err
		})
	case named:
		c.beside(ctx, "charter", charterEvery, func() error { return c.charter(ctx, sealed, card.Seq) })
	}
	return nil
}

// join asks the hub to take this circle in. The hub's word is final where it refuses.
func (c *cards) join(ctx context.Context, card []byte, number uint64) error {
	var ask courier.Join
	var due bool
	err := c.letters.circle.Read(func(r machine.Reader) error {
		ask, due = joining.JoinFor(r, card)
		return nil
	})
	if err != nil || !due {
		return err
	}
	reply, err := c.letters.knock(ctx, ask.To, ask)
	if err != nil {
		return err
	}
	var body joining.Answered
	switch m := reply.(type) {
	case courier.Told:
	case courier.Refused:
		if m.Code == courier.Busy {
			return refusedBy(reply)
		}
		body.Why = m.Message
	default:
		return refusedBy(reply)
	}
	_, err = c.letters.asNode(ctx, "joining.answered", body)
	if err == nil && body.Why == "" {
		err = c.charterFrom(ctx, ask.To, card, number)
	}
	return err
}

// charter asks for what is new of the charter: the hub, or where that is away any other circle.
func (c *cards) charter(ctx context.Context, card []byte, number uint64) error {
	var at letter.CircleID
	err := c.letters.circle.Read(func(r machine.Reader) error {
		at, _ = exchange.Hub(r)
		return nil
	})
	if err != nil {
		return err
	}
	err = c.charterFrom(ctx, at, card, number)
	if err == nil {
		return c.showHub(ctx, at)
	}
	if ctx.Err() != nil {
		return err
	}
	others := slices.DeleteFunc(c.circles(), func(id letter.CircleID) bool { return id == at })
	if len(others) == 0 {
		return err
	}
	other := others[rand.IntN(len(others))] //nolint:gosec // any will do
	return errors.Join(err, c.charterFrom(ctx, other, card, number))
}

func (c *cards) charterFrom(ctx context.Context, from letter.CircleID, card []byte, number uint64) error {
	for range charterParts {
		var ask courier.CharterAsk
		err := c.letters.circle.Read(func(r machine.Reader) error {
			ask, _ = joining.AskFor(r, from, card, number)
			return nil
		})
		if err != nil {
			return err
		}
		msg, err := c.ask(ctx, from, ask)
		if err != nil {
			return err
		}
		news, ok := msg.(courier.CharterNews)
		switch {
		case !ok:
			return refusedBy(msg)
		case len(news.Charter.Bytes) == 0 && news.Through <= ask.Cards:
			return nil
		}
		body := joining.Take{Charter: news.Charter, Cards: news.Cards, Through: news.Through}
		if _, err := c.letters.do(ctx, from, "joining.take", body); err != nil {
			return err
		}
	}
	return nil
}

// showHub shows the hub what it has forgotten, where it was put back.
func (c *cards) showHub(ctx context.Context, at letter.CircleID) error {
	var show courier.CharterShow
	var due bool
	err := c.letters.circle.Read(func(r machine.Reader) error {
		show, due = joining.ShowFor(r)
		return nil
	})
	if err == nil && due && show.To == at {
		_, err = c.tell(ctx, at, show)
	}
	return err
}

// gotCharterShow is the hub's: it takes back what it has forgotten.
func (c *cards) gotCharterShow(ctx context.Context, peer exchange.PeerState, m courier.CharterShow) error {
	var forgot bool
	err := c.letters.circle.Read(func(r machine.Reader) error {
		forgot = joining.Forgot(r, m)
		return nil
	})
	if err == nil && forgot {
		body := joining.Show{Charter: m.Charter, Cards: m.Cards}
		_, err = c.letters.do(ctx, peer.Circle, "joining.show", body)
	}
	return err
}

// gotCharterAsk tells another circle what it lacks of the charter. At the hub it takes that circle's newer
// card.
func (c *cards) gotCharterAsk(
	ctx context.Context, peer exchange.PeerState, m courier.CharterAsk,
) (any, error) {
	if m.From != peer.Circle {
		return courier.Refused{Code: courier.Malformed, Message: "not in this circle's name"}, nil
	}
	var atHub bool
	var news courier.CharterNews
	err := c.letters.circle.Read(func(r machine.Reader) (err error) {
		atHub = hub.Opened(r)
		return nil
	})
	if err == nil && atHub && len(m.Card) > 0 {
		_, err = c.letters.do(ctx, peer.Circle, "joining.card", joining.Card{Card: m.Card})
	}
	if err != nil {
		return nil, err
	}
	err = c.letters.circle.Read(func(r machine.Reader) (err error) {
		news, err = joining.Reply(r, c.letters.keys.Circle, m)
		return err
	})
	return news, err
}

// knocked answers a machine of a circle that is not known here: it can ask to join, and nothing else.
func (l *letters) knocked(ctx context.Context, from string, request []byte) ([]byte, error) {
	refused := func(code, why string) ([]byte, error) {
		return courier.Encode(courier.Refused{Code: code, Message: why})
	}
	if !l.knocks.Allow() {
		l.allowed.warn("more machines ask to join than are answered", "peer", from)
		return refused(courier.Busy, "too many ask at once; wait a little")
	}
	msg, err := courier.Decode(request)
	ask, ok := msg.(courier.Join)
	if err != nil || !ok || ask.To != l.keys.CircleID() {
		l.allowed.warn("a machine of no circle that is known here asked for something else than to join",
			"peer", from)
		return refused(courier.Malformed, "not a question to join this federation")
	}
	card, err := charter.OpenCard(ask.Card)
	if err != nil || card.Circle != ask.From || !speaksFor(card, from) {
		return refused(courier.Malformed, "the card is not that of the circle which asks")
	}
	l.log.Info("a circle asks to join the federation", "circle", ask.From, "name", card.Name)
	body := joining.Ask{Card: ask.Card, Secret: ask.Secret}
	var admitted error
	err = l.circle.Read(func(r machine.Reader) error {
		admitted = joining.Admits(r, body, string(ask.From), time.Now().UnixMilli())
		return nil
	})
	if err = errors.Join(err, admitted); err == nil {
		_, err = l.do(ctx, ask.From, "joining.ask", body)
	}
	var refusal *machine.Error
	switch {
	case errors.As(err, &refusal):
		l.log.Info("a circle was not taken in", "circle", ask.From, "why", refusal.Message)
		return refused(refusal.Code, refusal.Message)
	case err != nil:
		return refused(courier.Busy, "try again later")
	}
	return courier.Encode(courier.Told{})
}

// speaksFor tells whether a card names a machine among those that speak for the circle now.
func speaksFor(card charter.Card, host string) bool {
	now := time.Now().UnixMilli()
	return slices.ContainsFunc(card.Hosts, func(h charter.Host) bool {
		return h.Peer == host && now < h.Until
	})
}

func newKnocks() *rate.Limiter { return rate.NewLimiter(knocksPerSecond, knocksAtOnce) }
