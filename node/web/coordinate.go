package web

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// coordinateBody is what templates/circle/coordinate.html shows. Every form on it has an id of its own and
// names itself in "task".
type coordinateBody struct {
	Errors  []problem
	Wrong   map[string]string
	Work    workForm
	Welcome welcomeForm
	Invite  inviteForm
	Place   placeForm
	Freeze  freezeForm
	status  int
}

type workForm struct {
	ID, Coins, Activity, Place, On, Today string
	People                                []option
	Places, Kinds                         []option
}

type welcomeForm struct {
	ID, Words string
	People    []option
}

type inviteForm struct {
	ID, Name, Secret, Until string
	People, Hats            []option
	Link, LinkFor, LinkEnds string // made just now
}

type placeForm struct{ ID, Name string }

type freezeForm struct {
	ID, Why  string
	Accounts []option
	Open     bool // the choice to open again
}

func (b coordinateBody) wrong() bool { return len(b.Errors) > 0 }

func (p *Pages) coordinate(v *visit) error {
	b, err := p.newCoordinate()
	if err != nil {
		return err
	}
	return p.showCoordinate(v, b)
}

func (p *Pages) newCoordinate() (coordinateBody, error) {
	b := coordinateBody{Errors: []problem{}, Wrong: map[string]string{}, status: http.StatusOK}
	for _, id := range []*string{&b.Work.ID, &b.Welcome.ID, &b.Invite.ID, &b.Place.ID, &b.Freeze.ID} {
		drawn, err := p.cfg.NewID()
		if err != nil {
			return b, err
		}
		*id = drawn.String()
	}
	b.Invite.Until = strconv.FormatInt(p.cfg.Now().Add(linkLife).UnixMilli(), 10)
	var err error
	b.Invite.Secret, _, err = p.cfg.NewSecret()
	return b, err
}

var backToCircle = wayBack{Href: "/circle", Text: "Our circle"}

func (p *Pages) showCoordinate(v *visit, b coordinateBody) error {
	if !v.wears(member.HatCoordinator) {
		return machine.Refuse("hat_missing", "This page is for people who wear the hat of a coordinator.")
	}
	people, err := v.people()
	if err != nil {
		return err
	}
	commons, err := v.commons()
	if err != nil {
		return err
	}
	policy, err := ask[coin.PolicyAnswer](v, v.self(), "coin.policy", nil)
	if err != nil {
		return err
	}
	all, err := everyone(v)
	if err != nil {
		return err
	}
	fill := func(options []option, chosen string) []option { return choose(slices.Clone(options), chosen) }
	b.Work.People = fill(people, v.typed("work-person"))
	b.Work.Kinds = helpOptions()
	b.Work.Places = slices.DeleteFunc(slices.Clone(commons),
		func(o option) bool { return o.Value == coin.Pool })
	b.Work.Today = p.now().Format(time.DateOnly)
	b.Welcome.People = fill(people, v.typed("welcome-person"))
	b.Welcome.Words = "The pool gives each newcomer " + coins(policy.WelcomeMinutes) + ", once."
	b.Invite.People = fill(all, v.typed("invite-person"))
	for _, hat := range member.Hats {
		b.Invite.Hats = append(b.Invite.Hats, option{
			Value: hat, Text: upperFirst(hatWords[hat]),
			Selected: slices.Contains(v.r.PostForm["invite-hat"], hat),
		})
	}
	b.Freeze.Accounts = fill(slices.Concat(people, commons), v.typed("freeze-account"))
	return v.show(b.status, "circle/coordinate", "Coordinate", backToCircle, b)
}

// everyone lists all members, those who have not come in yet as well.
func everyone(v *visit) ([]option, error) {
	list, err := ask[member.People](v, v.self(), "member.list", nil)
	if err != nil {
		return nil, err
	}
	options := []option{}
	for _, m := range list.People {
		options = append(options, option{Value: m.Person, Text: m.Name})
	}
	slices.SortStableFunc(options, func(a, b option) int { return strings.Compare(a.Text, b.Text) })
	return options, nil
}

// coordinateFields say which input of a task a refusal is about; the task's name comes in front.
var coordinateFields = fields{
	"bad_amount": "coins", "day_limit": "coins", "person_unknown": "person", "name_missing": "name",
	"bad_text": "name", "bad_time": "on", "already_welcomed": "person", "place_exists": "name",
	"floor_passed": "person", "account_unknown": "account", "no_change": "account",
	"account_frozen": "person",
}

// tasks are the forms of the page, by the name each sends.
var tasks = map[string]func(*Pages, *visit, *coordinateBody) (notice string, err error){
	"work": (*Pages).recordWork, "welcome": (*Pages).welcomeGift, "invite": (*Pages).makeLink,
	"place": (*Pages).addPlace, "freeze": (*Pages).stopAccount,
}

func (p *Pages) doCoordinate(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	b, err := p.newCoordinate()
	if err != nil {
		return err
	}
	name := v.typed("task")
	task, ok := tasks[name]
	if !ok {
		return machine.Refuse("bad_request",
			"What you sent could not be read. Load the page again and retry.")
	}
	notice, err := task(p, v, &b)
	switch {
	case err == nil && notice != "":
		return v.done("/circle/coordinate", notice)
	case err == nil: // the page itself has the answer
		return p.showCoordinate(v, b)
	}
	f := form{Errors: b.Errors, Wrong: b.Wrong}
	of := fields{}
	for code, field := range coordinateFields {
		of[code] = name + "-" + field
	}
	if e, ok := refusalOf(err); ok && e.Code == "name_missing" && name == "freeze" {
		of[e.Code] = "freeze-why"
	} else if ok && e.Code == "name_missing" && name == "work" {
		of[e.Code] = "work-activity"
	}
	if err := f.take(v, err, of); err != nil {
		return err
	}
	if f.ID == "" { // it is not known whether it was done: the same id goes out again
		b.keepID(name, v.typed("id"))
	}
	if name == "invite" {
		b.Invite.Secret, b.Invite.Until = v.typed("secret"), v.typed("until")
	}
	b.Errors, b.Wrong, b.status = f.Errors, f.Wrong, f.status
	return p.showCoordinate(v, b)
}

// keepID gives a task's form the id it was sent with.
func (b *coordinateBody) keepID(task, id string) {
	switch task {
	case "work":
		b.Work.ID = id
	case "welcome":
		b.Welcome.ID = id
	case "invite":
		b.Invite.ID = id
	case "place":
		b.Place.ID = id
	case "freeze":
		b.Freeze.ID = id
	}
}

func (p *Pages) recordWork(v *visit, b *coordinateBody) (string, error) {
	w := &b.Work
	w.Coins, w.Activity, w.Place = v.typed("work-coins"), v.typed("work-activity"), v.typed("work-place")
	w.On = v.typed("work-on")
	minutes, sentence := minutesOf(w.Coins)
	switch {
	case v.typed("work-person") == "":
		return "", machine.Refuse("person_unknown", "Choose who gave their time.")
	case sentence != "":
		return "", machine.Refuse("bad_amount", "%s", sentence)
	}
	earn := coin.Earn{Person: v.typed("work-person"), Minutes: minutes, Activity: w.Activity, Place: w.Place}
	if w.On != "" && w.On != p.now().Format(time.DateOnly) {
		noon, err := time.ParseInLocation(time.DateOnly+" 15", w.On+" 12", london)
		if err != nil {
			return "", machine.Refuse("bad_time", "Say the day as 2026-09-30.")
		}
		earn.On = noon.UnixMilli()
	}
	_, err := do[coin.Moved](v, v.by, v.typed("id"), "coin.earn", earn)
	return "work", err
}

func (p *Pages) welcomeGift(v *visit, _ *coordinateBody) (string, error) {
	person := v.typed("welcome-person")
	if person == "" {
		return "", machine.Refuse("person_unknown", "Choose who is new.")
	}
	_, err := do[coin.Moved](v, v.by, v.typed("id"), "coin.welcome", coin.Welcome{Person: person})
	return "welcomed", err
}

func (p *Pages) addPlace(v *visit, b *coordinateBody) (string, error) {
	b.Place.Name = v.typed("place-name")
	if b.Place.Name == "" {
		return "", machine.Refuse("name_missing", "Say what the place is called.")
	}
	_, err := do[machine.None](v, v.by, v.typed("id"), "coin.place", coin.AddPlace{
		Place: shortName(b.Place.Name), Name: b.Place.Name,
	})
	return "place", err
}

// shortName makes a place's short name out of what it is called.
func shortName(name string) string {
	short := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return ' '
	}, strings.ToLower(name))
	short = strings.Join(strings.Fields(short), "-")
	short = strings.Trim(short[:min(len(short), 40)], "-")
	if short == "" { // in letters that a short name cannot have
		sum := sha256.Sum256([]byte(name))
		return "place-" + hex.EncodeToString(sum[:4])
	}
	return short
}

func (p *Pages) stopAccount(v *visit, b *coordinateBody) (string, error) {
	b.Freeze.Why, b.Freeze.Open = v.typed("freeze-why"), v.typed("freeze-do") == "open"
	if v.typed("freeze-account") == "" {
		return "", machine.Refuse("account_unknown", "Choose an account.")
	}
	_, err := do[machine.None](v, v.by, v.typed("id"), "coin.freeze", coin.Freeze{
		Account: v.typed("freeze-account"), Frozen: !b.Freeze.Open, Why: machine.Text("", b.Freeze.Why),
	})
	if b.Freeze.Open {
		return "opened", err
	}
	return "stopped", err
}
