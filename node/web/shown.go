package web

import (
	"slices"
	"strconv"
	"strings"

	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/directory"
)

// shownBody is what templates/me/shown.html shows.
type shownBody struct {
	form
	BackID                         string // command id of taking it back
	Shown                          bool
	Card                           cardView
	Until                          string
	Name, Words, Skills, Languages string
	Rate                           string
	Open                           bool
	Kinds, Sectors                 []option
	Days                           []dayRow
	Taken                          []takenView
}

type dayRow struct {
	Name  string
	Parts []option
}

type takenView struct {
	When    string
	Holders []holderView
}

type holderView struct {
	Name  string
	State chip
}

func (p *Pages) shown(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	mine, err := ask[findable.Mine](v, v.by, "findable.mine", nil)
	if err != nil {
		return err
	}
	b := shownBody{form: f}
	choice := findable.Choice{Open: true}
	if mine.Shown {
		choice = chosenOn(mine.Card)
	} else {
		choice.Name = v.me.Name
	}
	return p.showShown(v, b, choice, mine)
}

// chosenOn is the choice that makes a card.
func chosenOn(c directory.Card) findable.Choice {
	choice := findable.Choice{
		Name: c.Name, Words: c.Words, Kinds: c.Kinds, Skills: c.Skills, Languages: c.Languages,
		Sector: c.Sector, RatePence: c.Rate, Open: c.Open,
	}
	for day := range days {
		for x, part := range parts {
			if hasPart(c.Hours, day, x) {
				choice.Times = append(choice.Times, findable.Time{Day: day + 1, From: part.from, To: part.to})
			}
		}
	}
	return choice
}

func (p *Pages) showShown(v *visit, b shownBody, choice findable.Choice, mine findable.Mine) error {
	names, err := v.circleNames()
	if err != nil {
		return err
	}
	back, err := p.cfg.NewID()
	if err != nil {
		return err
	}
	b.BackID, b.Shown = back.String(), mine.Shown
	if mine.Shown {
		b.Card, b.Until = viewOf(mine.Card, -1, names), p.day(mine.Until)
	}
	b.fill(choice)
	list, err := ask[findable.SectorList](v, v.self(), "findable.sectors", nil)
	if err != nil {
		return err
	}
	b.Sectors = []option{}
	for _, s := range list.Sectors {
		b.Sectors = append(b.Sectors, option{Value: s.Sector, Text: s.Sector})
	}
	b.Sectors = choose(b.Sectors, choice.Sector)
	b.Taken = []takenView{}
	for _, t := range mine.Taken {
		b.Taken = append(b.Taken, p.takenOf(t))
	}
	return v.show(b.status, "me/shown", "What others see of me", wayBack{Href: "/me", Text: "My settings"}, b)
}

// fill puts a choice into the fields of the form.
func (b *shownBody) fill(c findable.Choice) {
	b.Name, b.Words, b.Open = c.Name, c.Words, c.Open
	b.Skills, b.Languages = strings.Join(capital(c.Skills), ", "), strings.Join(capital(c.Languages), ", ")
	if b.Rate == "" && c.RatePence > 0 {
		b.Rate = strings.TrimPrefix(pounds(int64(c.RatePence)), "£")
	}
	b.Kinds = kindsOfSupport()
	for i := range b.Kinds {
		b.Kinds[i].Selected = slices.Contains(c.Kinds, b.Kinds[i].Value)
	}
	b.Days = nil
	for d, name := range days {
		row := dayRow{Name: name}
		for x, part := range parts {
			o := option{Value: strconv.Itoa(d+1) + "-" + strconv.Itoa(x+1), Text: upperFirst(part.text)}
			o.Selected = slices.ContainsFunc(c.Times, func(t findable.Time) bool {
				return t.Day == d+1 && t.From == part.from
			})
			row.Parts = append(row.Parts, o)
		}
		b.Days = append(b.Days, row)
	}
}

func (p *Pages) takenOf(t findable.Taken) takenView {
	view := takenView{When: p.when(t.At), Holders: []holderView{}}
	for _, h := range t.Holders {
		state := chip{Text: "Has not answered yet", Tone: "waiting"}
		if h.Gone != 0 {
			state = chip{Text: "Gone there, " + p.when(h.Gone), Tone: "done"}
		}
		view.Holders = append(view.Holders, holderView{Name: h.Name, State: state})
	}
	return view
}

var shownFields = fields{
	"name_missing": "name", "sector_unknown": "sector", "bad_card": "name", "bad_time": "",
}

// show saves what other circles may see.
func (p *Pages) show(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	b := shownBody{form: f, Rate: v.typed("rate")}
	choice := findable.Choice{
		Name: v.typed("name"), Words: v.words("words"), Kinds: v.r.PostForm["kind"],
		Skills: strings.Split(v.typed("skills"), ","), Languages: strings.Split(v.typed("languages"), ","),
		Sector: v.typed("sector"), Open: v.typed("open") != "",
	}
	for _, t := range v.r.PostForm["time"] {
		day, part, _ := strings.Cut(t, "-")
		d, errDay := strconv.Atoi(day)
		x, errPart := strconv.Atoi(part)
		if errDay == nil && errPart == nil && d >= 1 && d <= len(days) && x >= 1 && x <= len(parts) {
			part := parts[x-1]
			choice.Times = append(choice.Times, findable.Time{Day: d, From: part.from, To: part.to})
		}
	}
	pence, ok := penceOf(b.Rate)
	if choice.RatePence = pence; !ok {
		b.refuse("rate", "Write the rate in pounds, such as 20 or 19.50, or leave it empty.")
	}
	if !b.wrong() {
		_, err = do[machine.None](v, v.by, b.ID, "findable.choose", findable.Choose{Card: choice})
		if err == nil {
			return v.done("/me/shown", "shown")
		}
		if err := b.take(v, err, shownFields); err != nil {
			return err
		}
	}
	mine, err := ask[findable.Mine](v, v.by, "findable.mine", nil)
	if err != nil {
		return err
	}
	return p.showShown(v, b, choice, mine)
}

// penceOf reads an amount of pounds; empty is none.
func penceOf(text string) (int32, bool) {
	text = strings.TrimPrefix(text, "£")
	if text == "" {
		return 0, true
	}
	whole, rest, cut := strings.Cut(text, ".")
	if !cut {
		rest = "00"
	}
	if len(rest) == 1 {
		rest += "0"
	}
	n, err := strconv.ParseUint(whole+rest, 10, 31)
	return int32(n), err == nil && len(rest) == 2 && n <= directory.MaxRatePence
}

// takeBack takes back what other circles may see.
func (p *Pages) takeBack(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	_, err := do[machine.None](v, v.by, v.typed("id"), "findable.withdraw", findable.Withdraw{})
	if err != nil {
		return err
	}
	return v.done("/me/shown", "taken-back")
}
