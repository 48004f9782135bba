package web

import (
	"context"
	"strconv"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
)

// Comparer compares our books of another circle with its own.
type Comparer func(ctx context.Context, by machine.Caller, circle string) (exchange.Comparison, error)

// compareBody is what templates/circle/compare.html shows.
type compareBody struct {
	Name     string
	State    chip
	Words    []string
	Differ   []comparedLine
	OnTheWay []comparedLine
	More     int
}

type comparedLine struct{ Date, Way, Here, There, Payment string }

func (p *Pages) compare(v *visit) error {
	c, err := p.cfg.Compare(v.r.Context(), v.self(), v.r.URL.Query().Get("circle"))
	if err != nil {
		return err
	}
	b := compareBody{Name: c.Name, State: chip{Text: "The books differ", Tone: "back"}, More: c.More}
	if c.Agree {
		b.State = chip{Text: "The books agree", Tone: "done"}
	}
	b.Words = compareWords(c)
	b.Differ, b.OnTheWay = p.compared(c, c.Differ), p.compared(c, c.OnTheWay)
	back := wayBack{Href: "/circle/allies", Text: "Other circles"}
	return v.show(200, "circle/compare", "Compare books", back, b)
}

// compareWords puts the balances of both sides in words.
func compareWords(c exchange.Comparison) []string {
	here := owedWords(c.Owes)
	words := []string{
		counted(c.Same, "payment is", "payments are") + " the same in both books.",
		"By our books " + here + ".",
	}
	switch {
	case c.Owes == -c.OwesThere:
		words = append(words, "By their books it is just the same.")
	case c.OwesThere > 0:
		words = append(words, "By their books they owe us "+coins(c.OwesThere)+".")
	case c.OwesThere < 0:
		words = append(words, "By their books we owe "+coins(-c.OwesThere)+".")
	default:
		words = append(words, "By their books nobody owes anything.")
	}
	if !c.Agree && len(c.Differ) == 0 {
		words = append(words, "All payments are the same, and the balances are not: one of the circles may"+
			" not have heard yet of what was settled between circles.")
	}
	return words
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func (p *Pages) compared(c exchange.Comparison, all []exchange.Compared) []comparedLine {
	var out []comparedLine
	for _, d := range all {
		line := comparedLine{Way: "to " + c.Name, Payment: d.Payment.String(), Date: "Not in our books"}
		if d.Incoming {
			line.Way = "from " + c.Name
		}
		if d.At > 0 {
			line.Date = upperFirst(p.day(d.At))
		}
		line.Here, line.There = stateWords(d.Here, d.Minutes), stateWords(d.There, d.MinutesThere)
		out = append(out, line)
	}
	return out
}

func stateWords(state string, minutes int64) string {
	switch state {
	case "made":
		return coins(minutes) + ", paid"
	case "waiting":
		return coins(minutes) + ", not answered yet"
	default:
		return "nothing of it"
	}
}
