package node

import (
	"context"
	"time"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/netting"
	"github.com/carecircle/carecircle/federation/courier"
)

const roundsEvery = 2 * time.Second // the hub is asked what is next

// rounds takes setting off between circles on: asks the hub what is next, and has one's own rounds, as a hub,
// go on when they can. The replica that leads does it.
func (c *cards) rounds(ctx context.Context) error {
	var named, due bool
	err := c.letters.circle.Read(func(r machine.Reader) error {
		_, named = netting.AskFor(r)
		due = netting.Due(r, time.Now().UnixMilli())
		return nil
	})
	if err != nil {
		return err
	}
	if named {
		c.beside(ctx, "rounds", roundsEvery, func() error { return c.askRounds(ctx) })
	}
	if due {
		c.beside(ctx, "round step", cardsEvery, func() error {
			_, err := c.letters.asNode(ctx, "netting.step", netting.Step{})
			return err
		})
	}
	return nil
}

// askRounds asks the hub what is next until there is nothing: a circle that was put back has much to hear.
func (c *cards) askRounds(ctx context.Context) error {
	for range courier.MaxKnownRounds {
		if more, err := c.askRound(ctx); err != nil || !more {
			return err
		}
	}
	return nil
}

// askRound asks the hub what is next, does it, and says what is to be said to it; it tells whether there was
// anything of that.
func (c *cards) askRound(ctx context.Context) (more bool, err error) {
	var ask courier.RoundAsk
	err = c.letters.circle.Read(func(r machine.Reader) error {
		ask, _ = netting.AskFor(r)
		return nil
	})
	if err != nil {
		return false, err
	}
	msg, err := c.ask(ctx, ask.To, ask)
	if err != nil {
		return false, err
	}
	news, ok := msg.(courier.RoundNews)
	if !ok {
		return false, refusedBy(msg)
	}
	var kind string
	var body any
	err = c.letters.circle.Read(func(r machine.Reader) error {
		kind, body = netting.CommandFor(r, news)
		return nil
	})
	if err == nil && kind != "" {
		_, err = c.letters.do(ctx, ask.To, kind, body)
	}
	if err != nil {
		return false, err
	}
	var say courier.RoundSay
	var due bool
	err = c.letters.circle.Read(func(r machine.Reader) error {
		say, due = netting.SayTo(r, c.letters.keys.Circle, news)
		return nil
	})
	if err == nil && due {
		_, err = c.tell(ctx, ask.To, say)
	}
	return kind != "" || due, err
}

// gotRoundAsk is the hub's: it tells a circle what is next.
func (c *cards) gotRoundAsk(peer exchange.PeerState, m courier.RoundAsk) (any, error) {
	if m.From != peer.Circle {
		return courier.Refused{Code: courier.Malformed, Message: "not in this circle's name"}, nil
	}
	var news courier.RoundNews
	err := c.letters.circle.Read(func(r machine.Reader) error {
		news = netting.Reply(r, c.letters.keys.Circle, m)
		return nil
	})
	return news, err
}

// gotRoundSay is the hub's: it hears what a circle has to say to a round.
func (c *cards) gotRoundSay(ctx context.Context, peer exchange.PeerState, m courier.RoundSay) error {
	_, err := c.letters.do(ctx, peer.Circle, "netting.say", netting.Heard(m))
	return err
}
