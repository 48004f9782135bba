package web

import (
	"net/url"
	"strconv"

	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/directory"
)

var backToFind = wayBack{Href: "/find", Text: "Find someone"}

// askBody is what templates/find/ask.html shows.
type askBody struct {
	form
	Circle, Card, Name, Words, Max string
	CircleName                     string
}

// contactsBody is what templates/find/contacts.html shows.
type contactsBody struct {
	form
	Got, Asked []question
	Max        string
}

// question is somebody's wish to be in touch, and the answer.
type question struct {
	ID, Circle, CircleName, When, Words, Reply, FormID, Typed, Wrong string
	State                                                            chip
	Open                                                             bool // waits for the reader's answer
}

func (p *Pages) askForm(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	in := v.r.URL.Query()
	b := askBody{form: f, Circle: in.Get("circle"), Card: in.Get("card"), Name: in.Get("name")}
	if err := v.meetCircle(); err != nil {
		return err
	}
	b.Words = "This is " + v.me.Name + " from " + v.about.Name + ". "
	return p.showAsk(v, b)
}

func (p *Pages) showAsk(v *visit, b askBody) error {
	names, err := v.circleNames()
	if err != nil {
		return err
	}
	b.CircleName, b.Max = names[b.Circle], strconv.Itoa(findable.MaxContactRunes)
	return v.show(b.status, "find/ask", "Ask to be in touch", backToFind, b)
}

var askFields = fields{"words_missing": "words", "bad_text": "words"}

func (p *Pages) ask(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	b := askBody{
		form: f, Circle: v.typed("circle"), Card: v.typed("card"), Name: v.typed("name"),
		Words: v.words("words"),
	}
	_, err = do[machine.None](v, v.self(), b.ID, "findable.ask", findable.Ask{
		Circle: b.Circle, Card: b.Card, Words: machine.Text("", b.Words),
	})
	if err == nil {
		return v.done("/find/contacts", "asked")
	}
	if err := b.take(v, err, askFields); err != nil {
		return err
	}
	return p.showAsk(v, b)
}

func (p *Pages) contacts(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return p.showContacts(v, contactsBody{form: f}, "", "")
}

// showContacts lists questions; what was typed to answer one of them is shown again.
func (p *Pages) showContacts(v *visit, b contactsBody, id, typed string) error {
	all, err := ask[findable.Contacts](v, v.self(), "findable.contacts", nil)
	if err != nil {
		return err
	}
	names, err := v.circleNames()
	if err != nil {
		return err
	}
	b.Max, b.Got, b.Asked = strconv.Itoa(findable.MaxContactRunes), []question{}, []question{}
	for _, q := range all.Got {
		shown := p.questionOf(q, names)
		if shown.Open = q.Answered == 0; shown.Open {
			formID, err := p.cfg.NewID()
			if err != nil {
				return err
			}
			shown.FormID = formID.String()
			if q.ID == id {
				shown.Typed, shown.Wrong = typed, b.Wrong["words-"+id]
			}
		}
		shown.State = gotState(q)
		b.Got = append(b.Got, shown)
	}
	for _, q := range all.Asked {
		shown := p.questionOf(q, names)
		shown.State = askedState(q)
		b.Asked = append(b.Asked, shown)
	}
	return v.show(b.status, "find/contacts", "Being in touch", backToFind, b)
}

func (p *Pages) questionOf(q findable.Question, names map[string]string) question {
	return question{
		ID: q.ID, Circle: q.Circle, CircleName: names[q.Circle], When: p.when(q.At), Words: q.Words,
		Reply: q.Reply,
	}
}

func gotState(q findable.Question) chip {
	switch {
	case q.Answered == 0:
		return chip{Text: "Waits for your answer", Tone: "waiting"}
	case q.Yes:
		return chip{Text: "You said yes", Tone: "done"}
	default:
		return chip{Text: "You said no", Tone: "back"}
	}
}

func askedState(q findable.Question) chip {
	switch {
	case q.Answered != 0 && q.Yes:
		return chip{Text: "They said yes", Tone: "done"}
	case q.Answered != 0:
		return chip{Text: "They would rather not", Tone: "back"}
	case q.Refused != "":
		return chip{Text: "They are not to be found any more", Tone: "back"}
	case q.Sent:
		return chip{Text: "Waits for their answer", Tone: "waiting"}
	default:
		return chip{Text: "On its way", Tone: "waiting"}
	}
}

func (p *Pages) answer(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	id, words := v.typed("question"), v.words("words")
	b := contactsBody{form: f}
	_, err = do[machine.None](v, v.self(), b.ID, "findable.answer", findable.Answer{
		Circle: v.typed("circle"), ID: id, Yes: v.typed("answer") == "yes", Words: machine.Text("", words),
	})
	if err == nil {
		return v.done("/find/contacts", "answered")
	}
	if err := b.take(v, err, fields{"bad_text": "words-" + id}); err != nil {
		return err
	}
	return p.showContacts(v, b, id, words)
}

// askURL is where somebody who was found is asked to be in touch.
func askURL(c directory.Card) string {
	return "/find/ask?" + url.Values{
		"circle": {string(c.Circle)}, "card": {c.ID}, "name": {c.Name},
	}.Encode()
}
