package web

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/moving"
)

// moveBody is what templates/me/move.html shows.
type moveBody struct {
	form
	Stage                               string // none, asked, refused, accepted, leaving
	CircleName, When, Coins, Owed       string
	Circles                             []option
	Name, Words, Max                    string
	Secret, Hash, CancelID, Link, Where string
	circle                              string
}

// arrivalsBody is what templates/circle/arrivals.html shows.
type arrivalsBody struct {
	form
	Arrivals []arrivalView
}

type arrivalView struct {
	ID, Circle, From, Name, Words, When, FormID, Code string
	State                                             chip
	Open                                              bool
}

func (p *Pages) move(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return p.showMove(v, moveBody{form: f, Name: v.me.Name})
}

func (p *Pages) showMove(v *visit, b moveBody) error {
	mine, err := ask[moving.Mine](v, v.self(), "moving.mine", nil)
	if err != nil {
		return err
	}
	b.Stage, b.CircleName, b.When, b.Coins = mine.Stage, mine.Name, p.when(mine.At), coins(mine.Minutes)
	if mine.Minutes < 0 {
		b.Owed = coins(-mine.Minutes)
	}
	b.Where, b.Max = mine.Origin, strconv.Itoa(moving.MaxWordsRunes)
	if b.Stage == "none" || b.Stage == "refused" {
		known, err := ask[exchange.Alliances](v, v.self(), "exchange.alliances", nil)
		if err != nil {
			return err
		}
		b.Circles = []option{}
		for _, a := range known.Alliances {
			if a.State == "in-force" {
				b.Circles = append(b.Circles, option{Value: a.Circle, Text: a.Name + ", " + a.Place})
			}
		}
		b.Circles = choose(b.Circles, b.circle)
	}
	if b.Stage == "accepted" {
		secret, hash, err := p.cfg.NewSecret()
		if err != nil {
			return err
		}
		b.Secret, b.Hash = secret, hash.String()
	}
	id, err := p.cfg.NewID()
	if err != nil {
		return err
	}
	b.CancelID = id.String()
	back := wayBack{Href: "/me", Text: "My settings"}
	return v.show(b.status, "me/move", "Move to another circle", back, b)
}

var moveFields = fields{
	"name_missing": "name", "bad_text": "words", "malformed": "circle", "unknown_circle": "circle",
}

func (p *Pages) askMove(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	b := moveBody{form: f, Name: v.typed("name"), Words: v.words("words"), circle: v.typed("circle")}
	if b.circle == "" {
		b.refuse("circle", "Choose the circle that you want to move to.")
		return p.showMove(v, b)
	}
	_, err = do[machine.None](v, v.self(), b.ID, "moving.ask", moving.Ask{
		Circle: b.circle, Name: machine.Text("", b.Name), Words: machine.Text("", b.Words),
	})
	if err == nil {
		return v.done("/me/move", "move-asked")
	}
	if err := b.take(v, err, moveFields); err != nil {
		return err
	}
	return p.showMove(v, b)
}

func (p *Pages) cancelMove(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	_, err := do[machine.None](v, v.self(), v.typed("id"), "moving.cancel", moving.Cancel{})
	if err != nil {
		return err
	}
	return v.done("/me/move", "move-off")
}

// goMove leaves. The link by which the person enters the other circle is shown in the answer and nowhere
// else: only its hash goes there.
func (p *Pages) goMove(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	mine, err := ask[moving.Mine](v, v.self(), "moving.mine", nil)
	if err != nil {
		return err
	}
	secret, hash := v.typed("secret"), v.typed("hash")
	var link machine.Hash
	if err := link.UnmarshalText([]byte(hash)); err != nil || secret == "" {
		return machine.Refuse("bad_request", "This form was not complete. Load the page again and retry.")
	}
	b := moveBody{form: f}
	_, err = do[machine.None](v, v.self(), b.ID, "moving.go", moving.Go{Link: link})
	if err != nil {
		if err := b.take(v, err, fields{}); err != nil {
			return err
		}
		return p.showMove(v, b)
	}
	b.Stage, b.CircleName = "gone", mine.Name
	b.Link = strings.TrimRight(mine.Origin, "/") + "/enter/" + secret
	return v.show(http.StatusOK, "me/move", "Move to another circle", wayBack{}, b)
}

func (p *Pages) arrivals(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return p.showArrivals(v, arrivalsBody{form: f})
}

func (p *Pages) showArrivals(v *visit, b arrivalsBody) error {
	all, err := ask[moving.Arrivals](v, v.self(), "moving.arrivals", nil)
	if err != nil {
		return err
	}
	b.Arrivals = []arrivalView{}
	for _, a := range all.Arrivals {
		shown := arrivalView{
			ID: a.ID, Circle: a.Circle, From: a.From, Name: a.Name, Words: a.Words, When: p.when(a.At),
			State: arrivalState(a.Stage), Open: a.Stage == "waiting",
		}
		if shown.Open {
			id, err := p.cfg.NewID()
			if err != nil {
				return err
			}
			shown.FormID = id.String()
			if shown.Code, err = newCode(); err != nil {
				return err
			}
		}
		b.Arrivals = append(b.Arrivals, shown)
	}
	back := wayBack{Href: "/circle/coordinate", Text: "Coordinate"}
	return v.show(b.status, "circle/arrivals", "Moving here", back, b)
}

func arrivalState(stage string) chip {
	switch stage {
	case "waiting":
		return chip{Text: "Waits for your answer", Tone: "waiting"}
	case "expected":
		return chip{Text: "Expected", Tone: "waiting"}
	case "here":
		return chip{Text: "Has left there, may enter here", Tone: "done"}
	default:
		return chip{Text: "Not taken", Tone: "back"}
	}
}

func (p *Pages) decideArrival(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	yes := v.typed("answer") == "yes"
	b := arrivalsBody{form: f}
	_, err = do[machine.None](v, v.self(), b.ID, "moving.decide", moving.Decide{
		Circle: v.typed("circle"), ID: v.typed("arrival"), Yes: yes, Name: machine.Text("", v.typed("name")),
		Code: v.typed("code"),
	})
	if err == nil {
		return v.done("/circle/arrivals", "decided")
	}
	if err := b.take(v, err, fields{"name_missing": "name-" + v.typed("arrival")}); err != nil {
		return err
	}
	return p.showArrivals(v, b)
}
