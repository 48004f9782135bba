package sim

import (
	"bytes"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
)

// client is somebody with a phone, acting for one town's people: one request at a time, sent again until
// there is an answer.
type client struct {
	s    *sim
	town *town
	did  []*request // that were answered
}

// request is one command as its sender knows it.
type request struct {
	town   *town
	cmd    machine.Command
	then   func(answer) // when first answered
	got    bool
	answer answer
	reuse  bool // sent under an id that was used for something else
	lost   bool // the circle was put back to before its answer
}

// answer is all that a client is told.
type answer struct {
	position      uint64
	kind          string
	result        []byte
	code, message string
	moved         machine.Outcome
}

func (a answer) same(b answer) bool {
	return a.position == b.position && a.kind == b.kind && bytes.Equal(a.result, b.result) &&
		a.code == b.code && a.message == b.message
}

func answerOf(out machine.Outcome) answer {
	a := answer{position: out.Position, kind: out.Kind, moved: out}
	if out.Refusal != nil {
		a.code, a.message = out.Refusal.Code, out.Refusal.Message
		return a
	}
	a.result, _ = letter.Marshal(out.Result)
	return a
}

// request sends a command until it is answered, then calls then.
func (s *sim) request(t *town, c machine.Command, then func(answer)) *request {
	r := &request{town: t, cmd: c, then: then}
	s.asked = append(s.asked, r)
	s.open++
	s.send(r)
	return r
}

// send puts a request on its way once or twice, or loses it, and tries again while there is no answer.
func (s *sim) send(r *request) {
	d := &s.dice
	if s.calm || !d.chance(60) {
		s.after(d.between(1, 20), func() { s.reached(r) })
	}
	if !s.calm && d.chance(60) {
		s.after(d.between(1, 1500), func() { s.reached(r) })
	}
	s.after(d.between(300, 1500), func() {
		if !r.got {
			s.res.Retried++
			s.send(r)
		}
	})
}

// reached handles a request at the town.
func (s *sim) reached(r *request) {
	t := r.town
	if !t.up {
		return
	}
	if err := s.machine.Check(r.cmd); err != nil {
		s.tell(r, answerOf(machine.Outcome{Kind: r.cmd.Kind, Refusal: machine.AsError(err)}))
		return
	}
	t.propose(r.cmd, func(out machine.Outcome) {
		if a := answerOf(out); a.code != "not_heard" { // or else it asks again
			s.tell(r, a)
		}
	})
}

// tell brings an answer to the client, or loses it.
func (s *sim) tell(r *request, a answer) {
	if !s.calm && s.dice.chance(60) {
		return
	}
	s.after(s.dice.between(1, 20), func() {
		if r.lost {
			a.position = 0 // it may be told otherwise now
		}
		if r.got {
			s.compareAnswers(r, a)
			return
		}
		r.got, r.answer = true, a
		s.open--
		s.note(r.town.name, "told", a.kind+" "+a.code, int64(a.position), 0)
		s.compareReuse(r, a)
		if r.then != nil {
			r.then(a)
		}
	})
}
