package node

import (
	"context"
	"fmt"
	"time"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/moving"
	"github.com/carecircle/carecircle/federation/courier"
)

// moves takes what moves between circles have to tell to the other circle, until it has it, and has them go
// on when they can. The replica that leads does it.
func (c *cards) moves(ctx context.Context) error {
	var out []moving.Outgoing
	var again []retold
	var due bool
	err := c.letters.circle.Read(func(r machine.Reader) error {
		out = moving.Outgoings(r, c.letters.sealer.machine.Opened(machine.Read{Reader: r}).Bytes)
		due = moving.Due(r, time.Now().UnixMilli())
		for _, o := range moving.Again(r, c.letters.sealer.machine.Opened(machine.Read{Reader: r}).Bytes) {
			again = append(again, retold{o, exchange.LifeOf(r, o.Circle)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range again {
		what := fmt.Sprint("again ", o.Circle, o.ID, o.Stage)
		c.once(ctx, what, o.life, func() error { return c.tellAgain(ctx, o.Outgoing) })
	}
	for _, o := range out {
		what := "move " + string(o.Circle) + o.ID + o.Stage.String()
		c.beside(ctx, what, askAgain, func() error { return c.tellMove(ctx, o) })
	}
	if due {
		c.beside(ctx, "moves", cardsEvery, func() error {
			_, err := c.letters.asNode(ctx, "moving.step", moving.Step{Most: moving.AtOnce})
			return err
		})
	}
	return nil
}

// retold is something said once more, in a new life of the other circle's letters.
type retold struct {
	moving.Outgoing
	life courier.Nonce
}

// once does something until it was done, and then never again in this life of the other circle while this
// replica runs. A late letter of an earlier life may hide the newer one: what was begun goes on until it is
// done.
func (c *cards) once(ctx context.Context, what string, life courier.Nonce, do func() error) {
	c.mu.Lock()
	in, done := c.done[what]
	if done && in != life {
		delete(c.done, what)
	}
	c.mu.Unlock()
	if done && in == life {
		return
	}
	c.beside(ctx, what, askAgain, func() error {
		err := do()
		c.mu.Lock()
		defer c.mu.Unlock()
		if err == nil {
			c.done[what] = life
		}
		return err
	})
}

func (c *cards) tellAgain(ctx context.Context, o moving.Outgoing) error {
	_, err := c.tell(ctx, o.Circle, c.moveMessage(o))
	return err
}

// moveMessage puts what a move has to tell in a message.
func (c *cards) moveMessage(o moving.Outgoing) any {
	us := c.letters.keys.CircleID()
	switch o.Stage {
	case moving.StageAsked:
		return courier.MoveAsk{From: us, To: o.Circle, ID: o.ID, Name: o.Name, Words: o.Words}
	case moving.StageLeft:
		left := courier.Leaving{From: us, To: o.Circle, ID: o.ID, Person: o.Person}
		return courier.MovePacket{
			From: us, To: o.Circle, ID: o.ID, Link: o.Link[:], Person: o.Person,
			Proof: left.Sign(c.letters.keys.Circle),
		}
	case moving.StageHere:
		return courier.MoveArrived{
			From: us, To: o.Circle, ID: o.ID, Code: o.Code, Origin: c.letters.origin,
			Person: o.Person, Proof: o.Proof,
		}
	default:
		return courier.MoveAnswer{
			From: us, To: o.Circle, ID: o.ID, Yes: o.Stage == moving.StageExpected, Code: o.Code,
			Origin: c.letters.origin,
		}
	}
}

func (c *cards) tellMove(ctx context.Context, o moving.Outgoing) error {
	refused, err := c.tell(ctx, o.Circle, c.moveMessage(o), "not_asked", "too_many")
	if err != nil {
		return err
	}
	_, err = c.letters.asNode(ctx, "moving.delivered", moving.Delivered{
		Circle: string(o.Circle), ID: o.ID, Stage: o.Stage, Refused: refused != "",
	})
	return err
}

// gotMove takes what another circle has to tell of a move.
func (l *letters) gotMove(ctx context.Context, peer exchange.PeerState, msg any) (any, error) {
	var kind string
	var body any
	switch m := msg.(type) {
	case courier.MoveAsk:
		kind, body = "moving.asked", moving.Asked{
			ID: m.ID, Name: machine.Text("", m.Name), Words: machine.Text("", m.Words),
		}
	case courier.MoveAnswer:
		kind, body = "moving.answered", moving.Answered{ID: m.ID, Yes: m.Yes, Code: m.Code, Origin: m.Origin}
	case courier.MoveArrived:
		kind, body = "moving.arrived", moving.Arrived{
			ID: m.ID, Code: m.Code, Origin: m.Origin, Person: m.WhoLeft(peer.Circle, l.keys.CirclePublic()),
		}
	case courier.MovePacket:
		kind, body = "moving.packet", moving.Packet{
			ID: m.ID, Link: machine.Hash(m.Link), Was: m.Person, Proof: m.Proof,
		}
	default:
		return courier.Refused{Code: courier.Malformed, Message: "not a request"}, nil
	}
	_, err := l.do(ctx, peer.Circle, kind, body)
	return courier.Told{}, err
}
