package web

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/member"
)

// page is what the frame of every page shows; see templates/layout.html.
type page struct {
	Title     string
	Circle    circleName
	Me        myName
	Nav       []navItem
	Back      wayBack
	Notices   []notice
	HasErrors bool
	Version   string
	Looking   looking
	Body      any
}

type circleName struct{ Name, Place string }

type myName struct{ Name string }

type navItem struct {
	Href, Text, Icon string
	Current          bool
}

type wayBack struct{ Href, Text string }

type notice struct{ Tone, Title, Text string }

// looking says whose coins are looked at, for those who may act for others.
type looking struct {
	At      string // the name; empty: one's own
	Action  string
	Choices []option
}

type option struct {
	Value, Text string
	Selected    bool
}

// doneNotices are what a page can say after something was done. The address carries the key only, so that
// no link from elsewhere can put words on our pages.
var doneNotices = map[string]notice{
	"out": {Tone: "good", Title: "You are signed out."},
	"autogift": {
		Tone: "good", Title: "Your choice is saved.",
		Text: "It holds for coins you earn from now on.",
	},
	"code":        {Tone: "good", Title: "You have a new code.", Text: "An older one no longer works."},
	"chosen":      {Tone: "good", Title: "Your choices are saved."},
	"passkey-off": {Tone: "good", Title: "The passkey is removed."},
	"shown": {
		Tone: "good", Title: "Your card is shown.", Text: "Other circles see it within a minute or so.",
	},
	"asked": {
		Tone: "good", Title: "You have asked them.", Text: "You see here what they answer.",
	},
	"move-asked": {
		Tone: "good", Title: "The other circle is asked.", Text: "You see here what it answers.",
	},
	"move-off":   {Tone: "good", Title: "You stay.", Text: "What you asked is taken back."},
	"decided":    {Tone: "good", Title: "Your answer is on its way."},
	"round-when": {Tone: "good", Title: "The choice of your circle is saved."},
	"federation-asked": {
		Tone: "good", Title: "The hub is asked.", Text: "You see here what it answers.",
	},
	"circle-set": {
		Tone: "good", Title: "That is in the charter now.", Text: "All circles hear of it within a minute.",
	},
	"answered": {Tone: "good", Title: "Your answer is on its way."},
	"taken-back": {
		Tone: "good", Title: "Your card is taken back.",
		Text: "Every circle is told, and you see here who has answered that it is gone.",
	},
	"closed":   {Tone: "good", Title: "Signed out there."},
	"work":     {Tone: "good", Title: "The work is recorded.", Text: "They have their coins."},
	"welcomed": {Tone: "good", Title: "The welcome gift is given."},
	"place":    {Tone: "good", Title: "The place is added.", Text: "It can be given coins now."},
	"stopped":  {Tone: "good", Title: "The account is stopped."},
	"opened":   {Tone: "good", Title: "The account is open again."},
	"met": {
		Tone: "good", Title: "You know this circle now.",
		Text: "Next, agree on how far to trust each other.",
	},
	"offered": {
		Tone: "good", Title: "Your circle's consent is on its way.",
		Text: "When the other circle agrees to the same terms, coins can go both ways.",
	},
	"allied": {Tone: "good", Title: "You are allied.", Text: "Coins can go both ways now."},
}

var staleNotice = notice{
	Tone: "heads-up", Title: "This may be out of date.",
	Text: "This machine cannot reach the circle's other ones just now. What you do will wait until it can.",
}

type staleKey struct{}

// Stale marks a request whose pages may show what is out of date, so that they say so.
func Stale(ctx context.Context) context.Context { return context.WithValue(ctx, staleKey{}, true) }

func isStale(ctx context.Context) bool { return ctx.Value(staleKey{}) != nil }

// show writes a page of ours: the frame around the body.
func (v *visit) show(status int, name, title string, back wayBack, body any) error {
	f, err := v.frame(title)
	if err != nil {
		return err
	}
	f.Back, f.Body = back, body
	if e, ok := body.(interface{ wrong() bool }); ok {
		f.HasErrors = e.wrong()
	}
	return v.pages.render(v, status, name, "layout", f)
}

func (v *visit) frame(title string) (page, error) {
	f := page{Title: title, Version: v.pages.cfg.Version, Nav: []navItem{}, Notices: []notice{}}
	if err := v.meetCircle(); err != nil {
		return f, err
	}
	f.Circle = circleName{Name: v.about.Name, Place: v.about.Place}
	if n, ok := doneNotices[v.r.URL.Query().Get("done")]; ok && v.r.Method == http.MethodGet {
		f.Notices = append(f.Notices, n)
	}
	if isStale(v.r.Context()) {
		f.Notices = append(f.Notices, staleNotice)
	}
	if v.me.Person == "" {
		return f, nil
	}
	f.Me.Name = v.me.Name
	f.Nav = v.nav()
	f.Looking = v.looking()
	return f, nil
}

// meetCircle reads what the circle is called, once per visit.
func (v *visit) meetCircle() error {
	if v.about.ID != "" {
		return nil
	}
	var err error
	v.about, err = ask[member.AboutCircle](v, v.self(), "member.circle", nil)
	return err
}

func (v *visit) nav() []navItem {
	items := []navItem{
		{Href: "/coins", Text: "My coins", Icon: "coin"},
		{Href: "/coins/journey", Text: "Journeys", Icon: "walk"},
		{Href: "/circle", Text: "Our circle", Icon: "circle"},
		{Href: "/find", Text: "Find someone", Icon: "search"},
	}
	if v.wears(member.HatCoordinator) {
		items = append(items, navItem{Href: "/circle/coordinate", Text: "Coordinate", Icon: "people"})
	}
	if v.wears(member.HatSecretary) {
		items = append(items, navItem{Href: "/circle/allies", Text: "Other circles", Icon: "link"})
	}
	items = append(items, navItem{Href: "/me", Text: "My settings", Icon: "person"})
	best := -1
	for i, item := range items {
		longest := best < 0 || len(item.Href) > len(items[best].Href)
		if longest && strings.HasPrefix(v.r.URL.Path+"/", item.Href+"/") {
			best = i
		}
	}
	if best >= 0 {
		items[best].Current = true
	}
	return items
}

// wears tells whether the one signed in wears a hat and acts for themselves.
func (v *visit) wears(hat string) bool {
	return v.by.OnBehalfOf == "" && slices.Contains(v.me.Hats, hat)
}

func (v *visit) looking() looking {
	onCoins := strings.HasPrefix(v.r.URL.Path, "/coins")
	if len(v.me.ActsFor) == 0 || (!onCoins && v.by.OnBehalfOf == "") {
		return looking{}
	}
	l := looking{Action: "/coins", Choices: []option{{Value: "", Text: "My own coins", Selected: true}}}
	if v.r.Method == http.MethodGet && onCoins {
		l.Action = v.r.URL.Path
	}
	for _, other := range v.me.ActsFor {
		chosen := other.Person == v.by.OnBehalfOf
		if chosen {
			l.At, l.Choices[0].Selected = other.Name, false
		}
		l.Choices = append(l.Choices, option{Value: other.Person, Text: other.Name, Selected: chosen})
	}
	return l
}
