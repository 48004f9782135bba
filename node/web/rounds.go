package web

import (
	"strconv"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/netting"
)

type roundsBody struct {
	form
	May    bool // answer, and say when the circle takes part
	When   []option
	WhenID string // of the form that says when
	Rounds []roundView
}

type roundView struct {
	Number, FormID, Date, Why, Until string
	Among                            string // what it does among all circles
	State                            chip
	Open, Lost                       bool // for an answer; nothing came of it
	Lines                            []roundLine
}

type roundLine struct{ Name, Now, After string }

func (p *Pages) rounds(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return p.showRounds(v, roundsBody{form: f})
}

func (p *Pages) showRounds(v *visit, b roundsBody) error {
	all, err := ask[netting.Rounds](v, v.self(), "netting.rounds", nil)
	if err != nil {
		return err
	}
	b.May = v.wears(member.HatSecretary)
	id, err := p.cfg.NewID()
	if err != nil {
		return err
	}
	b.WhenID = id.String()
	for _, o := range []option{
		{Value: netting.WhenAsked, Text: "We decide each time"},
		{Value: netting.WhenAlways, Text: "Agree always"},
		{Value: netting.WhenNever, Text: "Never take part"},
	} {
		o.Selected = o.Value == all.When
		b.When = append(b.When, o)
	}
	b.Rounds = []roundView{}
	for _, r := range all.Rounds {
		shown, err := p.round(r)
		if err != nil {
			return err
		}
		b.Rounds = append(b.Rounds, shown)
	}
	return v.show(b.status, "circle/setoff", "Settle between circles", backToCircle, b)
}

func (p *Pages) round(r netting.Shown) (roundView, error) {
	id, err := p.cfg.NewID()
	if err != nil {
		return roundView{}, err
	}
	shown := roundView{
		Number: strconv.FormatUint(r.Number, 10), FormID: id.String(),
		Date:  upperFirst(p.day(int64(r.Number))),
		State: roundState(r.Stage), Open: r.Stage == "waiting", Why: upperFirst(r.Why),
		Lost: r.Stage == "dropped" || r.Stage == "declined", Until: p.day(r.Until),
		Among: "Between " + strconv.Itoa(r.Circles) + " circles, " + coins(r.Before) + " are owed in all; " +
			coins(r.After) + " afterwards.",
	}
	for _, l := range r.Lines {
		shown.Lines = append(shown.Lines, roundLine{
			Name: l.Name, Now: owedWords(l.Owed), After: owedWords(l.Owed + l.Changes),
		})
	}
	return shown, nil
}

// owedWords puts what this circle owes another in words.
func owedWords(minutes int64) string {
	switch {
	case minutes > 0:
		return "we owe " + coins(minutes)
	case minutes < 0:
		return "they owe us " + coins(-minutes)
	default:
		return "nobody owes anything"
	}
}

func roundState(stage string) chip {
	switch stage {
	case "waiting":
		return chip{Text: "Waits for your answer", Tone: "waiting"}
	case "agreed":
		return chip{Text: "We agreed; waits for the others", Tone: "waiting"}
	case "cleared":
		return chip{Text: "Done", Tone: "done"}
	case "declined":
		return chip{Text: "We declined", Tone: "back"}
	default:
		return chip{Text: "Came to nothing", Tone: "back"}
	}
}

// answerRound agrees to a round or declines it, or says when the circle takes part.
func (p *Pages) answerRound(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	b, done := roundsBody{form: f}, "decided"
	if when := v.typed("when"); when != "" {
		done = "round-when"
		_, err = do[machine.None](v, v.self(), b.ID, "netting.consent", netting.Consent{When: when})
	} else {
		number, bad := strconv.ParseUint(v.typed("round"), 10, 64)
		if bad != nil {
			return machine.Refuse("bad_request",
				"This form was not complete. Load the page again and retry.")
		}
		_, err = do[machine.None](v, v.self(), b.ID, "netting.answer", netting.Answer{
			Number: number, Yes: v.typed("answer") == "yes",
		})
	}
	if err == nil {
		return v.done("/circle/setoff", done)
	}
	if err := b.take(v, err, fields{}); err != nil {
		return err
	}
	return p.showRounds(v, b)
}
