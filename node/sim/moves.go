package sim

import (
	"fmt"
	"iter"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/moving"
	"github.com/carecircle/carecircle/federation/courier"
)

const thinkingMillis = 2_000 // people take before they decide

// movesAbout tells whether people move between circles in this run.
func (s *sim) movesAbout() bool { return s.opt.Seed%3 == 1 }

func inClear(p machine.Private) ([]byte, bool) { return p.Data, !p.IsSealed() }

// tellMoves does what a node does for moves: what the other circle has to know is told until it has it, and
// once more in each of its lives.
func (t *town) tellMoves() {
	if !t.up || t == t.s.hub || exchange.Life(t.state()) != t.nx || !t.s.movesAbout() {
		return
	}
	for _, o := range moving.Outgoings(t.state(), inClear) {
		t.tellMove(fmt.Sprint(o.ID, o.Stage), o, false)
	}
	for what, o := range t.retold() {
		t.tellMove(what, o, true)
	}
	if moving.Due(t.state(), t.clock()) {
		t.asNode("moving.step", moving.Step{Most: moving.AtOnce}, nil)
	}
	if t.s.calm {
		t.finishMoves()
	}
}

// retold is what is told once more in each life of the other circle, and what that is called. A late letter
// of an earlier life may hide the newer one: what began to be told goes on until it is.
func (t *town) retold() iter.Seq2[string, moving.Outgoing] {
	return func(yield func(string, moving.Outgoing) bool) {
		for _, o := range moving.Again(t.state(), inClear) {
			what := fmt.Sprint("again", o.ID, o.Stage)
			if t.telling[what] == wasTold && t.toldIn[what] != exchange.LifeOf(t.state(), o.Circle) {
				delete(t.telling, what)
			}
			if !yield(what, o) {
				return
			}
		}
	}
}

// movesOn tells whether something is still to be told of moves, or to be done.
func (t *town) movesOn() bool {
	for what := range t.retold() {
		if t.telling[what] != wasTold {
			return true
		}
	}
	for _, how := range t.telling {
		if how == beingTold {
			return true
		}
	}
	return len(moving.Outgoings(t.state(), inClear)) > 0 || moving.Due(t.state(), t.clock())
}

// telling is how far something is that is to be told, or done once.
type telling uint8

const (
	beingTold telling = iota + 1
	wasTold
)

// finishMoves has people end what they began, once the faults are over: those who are waited for decide,
// those who are welcome go, and those who have left enter.
func (t *town) finishMoves() {
	once := func(what string, by machine.Caller, kind string, body any) {
		if t.telling[what] != 0 {
			return
		}
		t.telling[what] = beingTold
		life := t.nx
		t.s.after(t.s.dice.between(0, thinkingMillis), func() {
			if t.up && t.nx == life {
				t.telling[what] = wasTold
				t.propose(t.s.command(by, kind, body), nil)
			}
		})
	}
	away, here := moving.Standings(t.state())
	for _, a := range here {
		switch p, _ := member.Find(t.state(), a.Person); {
		case a.Stage == moving.StageWaiting:
			once("decide"+a.ID, operator, "moving.decide", t.s.decision(a))
		case a.Stage == moving.StageHere && p.Status == member.Invited:
			node := machine.Caller{Actor: machine.ActorNode}
			once("enter"+a.ID, node, "member.enter", t.s.entering(t, a.ID))
		}
	}
	for _, m := range away {
		if m.Stage == moving.StageAccepted {
			once("go"+m.ID, machine.Caller{Actor: m.Person}, "moving.go", t.s.going(m.ID))
		}
	}
}

// going is how somebody leaves, by the link they have drawn once.
func (s *sim) going(id string) moving.Go {
	if s.links[id] == (machine.Hash{}) {
		s.links[id] = s.dice.hash()
	}
	return moving.Go{Link: s.links[id]}
}

func (s *sim) entering(t *town, id string) member.Enter {
	return member.Enter{Link: s.links[id], Session: s.dice.hash(), Until: t.clock() + linkMillis}
}

func (s *sim) decision(a moving.Standing) moving.Decide {
	return moving.Decide{
		Circle: string(a.Circle), ID: a.ID, Yes: true, Name: machine.Text("", "Newcomer"), Code: s.newCode(),
		Person: moving.PersonOf(string(a.Circle), a.ID),
	}
}

func (t *town) tellMove(what string, o moving.Outgoing, again bool) {
	if t.telling[what] != 0 {
		return
	}
	t.telling[what], t.toldIn[what] = beingTold, exchange.LifeOf(t.state(), o.Circle)
	done := func() { delete(t.telling, what) }
	t.ask(o.Circle, moveMessage(t, o), func(msg any) {
		refused, no := msg.(courier.Refused)
		switch {
		case msg == nil, no && refused.Code != "not_asked" && refused.Code != "too_many":
			t.s.after(expireMillis, done)
		case again:
			t.telling[what] = wasTold
		default:
			body := moving.Delivered{Circle: string(o.Circle), ID: o.ID, Stage: o.Stage, Refused: no}
			t.asNode("moving.delivered", body, func(machine.Outcome) { done() })
		}
	})
}

func moveMessage(t *town, o moving.Outgoing) any {
	switch o.Stage {
	case moving.StageAsked:
		return courier.MoveAsk{From: t.id, To: o.Circle, ID: o.ID, Name: o.Name, Words: o.Words}
	case moving.StageLeft:
		left := courier.Leaving{From: t.id, To: o.Circle, ID: o.ID, Person: o.Person}
		return courier.MovePacket{
			From: t.id, To: o.Circle, ID: o.ID, Link: o.Link[:], Person: o.Person, Proof: left.Sign(t.key),
		}
	case moving.StageHere:
		return courier.MoveArrived{
			From: t.id, To: o.Circle, ID: o.ID, Code: o.Code, Person: o.Person, Proof: o.Proof,
		}
	default:
		return courier.MoveAnswer{
			From: t.id, To: o.Circle, ID: o.ID, Yes: o.Stage == moving.StageExpected, Code: o.Code,
		}
	}
}

// gotMove takes what another circle has to tell of a move.
func (t *town) gotMove(from *town, msg any, reply func(msg any)) {
	told := func(any) any { return courier.Told{} }
	switch m := msg.(type) {
	case courier.MoveAsk:
		t.fromPeer(from, "moving.asked", moving.Asked{
			ID: m.ID, Name: machine.Text("", m.Name), Words: machine.Text("", m.Words),
		}, reply, told)
	case courier.MoveAnswer:
		t.fromPeer(from, "moving.answered", moving.Answered{ID: m.ID, Yes: m.Yes, Code: m.Code}, reply, told)
	case courier.MovePacket:
		t.fromPeer(from, "moving.packet", moving.Packet{
			ID: m.ID, Link: machine.Hash(m.Link), Was: m.Person, Proof: m.Proof,
		}, reply, told)
	case courier.MoveArrived:
		t.fromPeer(from, "moving.arrived", moving.Arrived{
			ID: m.ID, Code: m.Code, Person: m.WhoLeft(from.id, t.public()),
		}, reply, told)
	default:
		reply(courier.Refused{Code: courier.Malformed, Message: "not a request"})
	}
}

// drawMove is something that somebody does who moves, or whom it is for to decide; false where there is
// nothing to do.
func (c *client) drawMove(who string) (by machine.Caller, kind string, body any, ok bool) {
	d, t := &c.s.dice, c.town
	if !t.up {
		return by, "", nil, false
	}
	away, here := moving.Standings(t.state())
	for _, a := range here {
		switch {
		case a.Stage == moving.StageWaiting && d.chance(500):
			return operator, "moving.decide", c.s.decision(a), true
		case a.Stage == moving.StageHere && d.chance(500):
			if p, _ := member.Find(t.state(), a.Person); p.Status == member.Invited {
				node := machine.Caller{Actor: machine.ActorNode}
				return node, "member.enter", c.s.entering(t, a.ID), true
			}
		}
	}
	for _, m := range away {
		by = machine.Caller{Actor: m.Person}
		switch {
		case m.Stage == moving.StageAccepted && d.chance(700):
			return by, "moving.go", c.s.going(m.ID), true
		case m.Stage < moving.StageLeaving && d.chance(100):
			return by, "moving.cancel", moving.Cancel{}, true
		}
	}
	to := pick(d, c.s.towns)
	if to == t || who == t.people[0] {
		return by, "", nil, false
	}
	return machine.Caller{Actor: who}, "moving.ask", moving.Ask{
		Circle: string(to.id), Name: machine.Text("", "Newcomer"),
	}, true
}
