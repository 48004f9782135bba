package node

import (
	"context"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/moving"
	"github.com/carecircle/carecircle/federation/courier"
)

// moves takes what moves between circles have to tell to the other circle, until it has it, and has them go
// on when they can. The replica that leads does it.
func (c *cards) moves(ctx context.Context) error {
	var out []moving.Outgoing
	var due bool
	err := c.letters.circle.Read(func(r machine.Reader) error {
		out = moving.Outgoings(r, c.letters.sealer.machine.Opened(machine.Read{Reader: r}).Bytes)
		due = moving.Due(r)
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range out {
		what := "move " + string(o.Circle) + o.ID + o.Stage.String()
		c.beside(ctx, what, askAgain, func() error { return c.tellMove(ctx, o) })
	}
	if due {
		c.beside(ctx, "moves", cardsEvery, func() error {
			_, err := c.letters.asNode(ctx, "moving.step", moving.Step{})
			return err
		})
	}
	return nil
}

func (c *cards) tellMove(ctx context.Context, o moving.Outgoing) error {
	us := c.letters.keys.CircleID()
	var msg any
	switch o.Stage {
	case moving.StageAsked:
		msg = courier.MoveAsk{From: us, To: o.Circle, ID: o.ID, Name: o.Name, Words: o.Words}
	case moving.StageLeft:
		msg = courier.MovePacket{From: us, To: o.Circle, ID: o.ID, Link: o.Link[:]}
	default:
		msg = courier.MoveAnswer{
			From: us, To: o.Circle, ID: o.ID, Yes: o.Stage == moving.StageExpected, Code: o.Code,
			Origin: c.letters.origin,
		}
	}
	reply, err := c.ask(ctx, o.Circle, msg)
	if err != nil {
		return err
	}
	body := moving.Delivered{Circle: string(o.Circle), ID: o.ID, Stage: o.Stage}
	switch m := reply.(type) {
	case courier.Told:
	case courier.Refused:
		if m.Code != "not_asked" && m.Code != "too_many" { // for now only
			return refusedBy(reply)
		}
		body.Refused = true
	default:
		return refusedBy(reply)
	}
	_, err = c.letters.asNode(ctx, "moving.delivered", body)
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
	case courier.MovePacket:
		kind, body = "moving.packet", moving.Packet{ID: m.ID, Link: machine.Hash(m.Link)}
	default:
		return courier.Refused{Code: courier.Malformed, Message: "not a request"}, nil
	}
	_, err := l.do(ctx, peer.Circle, kind, body)
	return courier.Told{}, err
}
