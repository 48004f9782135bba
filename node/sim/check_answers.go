package sim

import "github.com/carecircle/carecircle/circle/machine"

// compareAnswers: the same request is always told the same.
func (s *sim) compareAnswers(r *request, again answer) {
	if !r.lost && !r.answer.same(again) {
		s.fail("answers", "%s: request %s (%s) was told %q at %d, and then %q at %d", r.town.name, r.cmd.ID,
			r.cmd.Kind, r.answer.code, r.answer.position, again.code, again.position)
	}
}

// compareReuse: something else under a used id is refused.
func (s *sim) compareReuse(r *request, a answer) {
	if r.reuse && !r.lost && a.position > 0 && a.code != "id_reused" {
		s.fail("answers", "%s: id %s was used twice, and %s was answered %q", r.town.name, r.cmd.ID,
			r.cmd.Kind, a.code)
	}
}

// checkAnswers sends every request once more at the end: each is told what it was told before.
func (s *sim) checkAnswers() {
	for _, r := range s.asked {
		if r.lost || s.liar != nil && !r.got {
			continue
		}
		if err := s.machine.Check(r.cmd); err != nil {
			s.compareAnswers(r, answerOf(machine.Outcome{Kind: r.cmd.Kind, Refusal: machine.AsError(err)}))
			continue
		}
		raw, err := r.cmd.Encode()
		if err != nil {
			s.fail("answers", "%s: %v", r.town.name, err)
			continue
		}
		before := r.town.leader().kv.print
		out, err := s.machine.Apply(r.town.leader().kv, raw)
		if err != nil || !out.Repeated || r.town.leader().kv.print != before {
			s.fail("answers", "%s: request %s (%s) was forgotten: %v", r.town.name, r.cmd.ID, r.cmd.Kind, err)
			continue
		}
		s.compareAnswers(r, answerOf(out))
	}
}
