package netting

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/clearing"
)

const maxShown = 50 // rounds in a view, newest first

// Rounds are the rounds that this circle was in, newest first.
type Rounds struct {
	When   string  `json:"when"` // it agrees to them: ask, always or never
	Rounds []Shown `json:"rounds"`
}

// Shown is one of them.
type Shown struct {
	Number  uint64 `json:"number"`
	Stage   string `json:"stage"` // waiting, agreed, declined, cleared or dropped
	Why     string `json:"why,omitempty"`
	At      int64  `json:"at"`    // of the stage
	Until   int64  `json:"until"` // when the hub stops waiting
	Circles int    `json:"circles"`
	Before  int64  `json:"grossBefore"` // minutes owed among all circles
	After   int64  `json:"grossAfter"`
	Lines   []Line `json:"lines"` // this circle's own
}

// Line is what a round does to the account of one other circle.
type Line struct {
	Circle  string `json:"circle"`
	Name    string `json:"name"`
	Owed    int64  `json:"owedMinutes"` // by this circle, when it was proposed; less than 0: to it
	Changes int64  `json:"changeMinutes"`
}

// Calls are the rounds of this circle as a hub, newest first.
type Calls struct {
	Calls []Call `json:"calls"`
}

// Call is one of them.
type Call struct {
	Number  uint64     `json:"number"`
	Stage   string     `json:"stage"` // gathering, proposed, nothing, cleared or dropped
	At      int64      `json:"at"`
	Before  int64      `json:"grossBefore"`
	After   int64      `json:"grossAfter"`
	Left    []string   `json:"leftOut"` // names
	Answers []Answered `json:"answers"`
}

// Answered is what a circle said to a round.
type Answered struct {
	Name   string `json:"name"`
	Answer string `json:"answer"` // yes, no, or none yet
}

func views() []machine.View {
	return []machine.View{
		machine.Ask("netting.rounds", "Rounds of setting off that your circle was asked to.",
			machine.AnyOf(member.Signed, machine.Only(machine.ActorOperator)), listRounds),
		machine.Ask("netting.calls", "Rounds of setting off that this circle began, as the hub.",
			member.Secretary, listCalls),
	}
}

func listRounds(rd machine.Read, _ machine.None) (Rounds, error) {
	out := Rounds{When: WhenOf(rd), Rounds: []Shown{}}
	us, _ := member.TheCircle(rd)
	for _, x := range rounds.Latest(rd, nil, nil) {
		if len(out.Rounds) == maxShown {
			break
		}
		p, err := clearing.DecodePaper(x.Paper.Bytes)
		if err != nil {
			return out, err
		}
		out.Rounds = append(out.Rounds, Shown{
			Number: x.Number, Stage: x.Stage.String(), Why: x.Why, At: x.At, Until: x.Until,
			Circles: len(p.Circles()), Before: p.Proposal.GrossBefore, After: p.Proposal.GrossAfter,
			Lines: linesOf(rd, p, us.ID),
		})
	}
	return out, nil
}

func linesOf(r machine.Reader, p clearing.Paper, us string) []Line {
	owed := func(o clearing.Obligation) int64 {
		for _, was := range p.Proposal.Obligations {
			if was.Debtor == o.Debtor && was.Creditor == o.Creditor {
				return was.Minutes
			}
		}
		return 0
	}
	lines := []Line{}
	for _, o := range p.Proposal.Changes {
		switch us {
		case o.Debtor:
			lines = append(lines, Line{o.Creditor, exchange.NameOf(r, o.Creditor), owed(o), -o.Minutes})
		case o.Creditor:
			lines = append(lines, Line{o.Debtor, exchange.NameOf(r, o.Debtor), -owed(o), o.Minutes})
		}
	}
	return lines
}

func listCalls(rd machine.Read, _ machine.None) (Calls, error) {
	out := Calls{Calls: []Call{}}
	for _, c := range calls.Latest(rd, nil, nil) {
		if len(out.Calls) == maxShown {
			break
		}
		shown := Call{
			Number: c.Number, Stage: c.Stage.String(), At: c.At, Left: []string{}, Answers: []Answered{},
		}
		for _, id := range c.Left {
			shown.Left = append(shown.Left, exchange.NameOf(rd, id))
		}
		if len(c.Paper) > 0 {
			p, err := clearing.DecodePaper(c.Paper)
			if err != nil {
				return out, err
			}
			shown.Before, shown.After = p.Proposal.GrossBefore, p.Proposal.GrossAfter
			for _, id := range c.Circles {
				shown.Answers = append(shown.Answers, Answered{exchange.NameOf(rd, id), answerOf(rd, c, id)})
			}
		}
		out.Calls = append(out.Calls, shown)
	}
	return out, nil
}

func answerOf(r machine.Reader, c call, id string) string {
	w, _ := words.Get(r, wordKey(c.Number, id))
	switch w.Answer {
	case yes:
		return "yes"
	case no:
		return "no"
	default:
		return "none yet"
	}
}
