package web

import (
	"net/http"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// keptBody is what templates/me/kept.html shows: all that the circle keeps about the reader, and who looked.
type keptBody struct {
	Looks []lookLine
	Kept  []keptLine
}

type lookLine struct{ When, Who, Why string }

type keptLine struct{ What, When, Words string }

// eraseBody is what templates/me/erase.html shows.
type eraseBody struct {
	form
	Sure bool
}

// erasedBody is what templates/me/erased.html shows.
type erasedBody struct {
	Copies  []copyLine
	InClear bool
}

type copyLine struct{ Name, Until string }

func (p *Pages) kept(v *visit) error {
	looks, err := ask[member.Looks](v, v.self(), "member.looks", nil)
	if err != nil {
		return err
	}
	file, err := ask[member.File](v, v.self(), "member.file", nil)
	if err != nil {
		return err
	}
	b := keptBody{Looks: []lookLine{}, Kept: []keptLine{}}
	for _, l := range looks.Looks {
		b.Looks = append(b.Looks, lookLine{
			When: p.when(l.At), Who: orElse(lookerWords[l.By], l.By),
			Why: orElse(l.Reason, "no reason was kept"),
		})
	}
	for _, k := range file.Kept {
		line := keptLine{What: upperFirst(k.What), Words: k.Words}
		if k.At != 0 {
			line.When = p.when(k.At)
		}
		b.Kept = append(b.Kept, line)
	}
	return v.show(http.StatusOK, "me/kept", "What is kept about me", toMe, b)
}

var (
	toMe        = wayBack{Href: "/me", Text: "My settings"}
	lookerWords = map[string]string{machine.ActorOperator: "Whoever runs our computer"}
)

func (p *Pages) eraseForm(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "me/erase", "Leave and be erased", toMe, eraseBody{form: f})
}

func (p *Pages) erase(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	if v.typed("sure") == "" {
		f.refuse("sure", "Tick the box if you are sure. Nothing has been erased.")
		return v.show(f.status, "me/erase", "Leave and be erased", toMe, eraseBody{form: f})
	}
	done, err := do[member.Erased](v, v.self(), f.ID, "member.erase", member.Erase{Person: v.by.Actor})
	if err != nil {
		if err := f.take(v, err, fields{}); err != nil {
			return err
		}
		return v.show(f.status, "me/erase", "Leave and be erased", toMe, eraseBody{form: f, Sure: true})
	}
	p.cfg.Gate.ClearSession(v.w, v.r)
	v.by, v.me = machine.Caller{}, member.Me{}
	b := erasedBody{Copies: []copyLine{}, InClear: done.InClear}
	for _, c := range done.Copies {
		line := copyLine{Name: c.Name}
		if c.Expires != 0 {
			line.Until = p.day(c.Expires)
		}
		b.Copies = append(b.Copies, line)
	}
	return v.show(http.StatusOK, "me/erased", "You are erased", wayBack{}, b)
}
