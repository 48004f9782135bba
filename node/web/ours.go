package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/member"
)

const (
	issuedLinesRead  = 100
	issuedLinesShown = 6
	eventsShown      = 20
	silentAfter      = 24 * time.Hour
)

// oursBody is what templates/circle/ours.html shows.
type oursBody struct {
	Name, Place, Aim, Policy string
	People                   []face
	Hidden                   string
	Pool                     pool
	Issued                   issued
	Places                   []place
	Alliances                []alliance
	Events                   []event
}

type face struct{ Name, Initial, Hats, GiveURL string }

type pool struct{ Coins, Words string }

type issued struct {
	Words string
	Lines []issuedLine
}

type issuedLine struct{ Text, Hours string }

type place struct{ Name, What, Icon, GiveURL string }

type alliance struct {
	Name, Place, Position, Limit, Review string
	Agreed                               bool
	Health                               health
	State                                chip
	accountBar
}

type health struct{ Text, Tone string }

// ours is the page of the circle as a whole.
func (p *Pages) ours(v *visit) error {
	if err := v.meetCircle(); err != nil {
		return err
	}
	b := oursBody{Name: v.about.Name, Place: v.about.Place, Aim: v.about.Aim}
	overview, err := ask[coin.Overview](v, v.self(), "coin.overview", nil)
	if err != nil {
		return err
	}
	policy, err := ask[coin.PolicyAnswer](v, v.self(), "coin.policy", nil)
	if err != nil {
		return err
	}
	b.Policy = "We look at our coin policy again on " + writtenDay(policy.ReviewOn)
	p.accounts(&b, v.about.Founded, overview, policy)
	if b.Issued.Lines, err = issuedLately(v); err != nil {
		return err
	}
	list, err := ask[member.People](v, v.self(), "member.list", nil)
	if err != nil {
		return err
	}
	b.People, b.Hidden = faces(v, list)
	known, err := ask[exchange.Alliances](v, v.self(), "exchange.alliances", nil)
	if err != nil {
		return err
	}
	b.Alliances = []alliance{}
	links := p.cfg.Links()
	for _, a := range known.Alliances {
		b.Alliances = append(b.Alliances, p.alliance(a, links))
	}
	if b.Events, err = p.events(v, overview, known); err != nil {
		return err
	}
	return v.show(http.StatusOK, "circle/ours", "Our circle", wayBack{}, b)
}

func (p *Pages) accounts(b *oursBody, founded int64, o coin.Overview, policy coin.PolicyAnswer) {
	b.Places = []place{}
	for _, a := range o.Accounts {
		switch a.Kind {
		case coin.KindPool:
			b.Pool.Coins = coins(a.Minutes)
			b.Pool.Words = "Coins that belong to everyone and wait to be of use."
			if policy.WelcomeMinutes > 0 {
				n := a.Minutes / policy.WelcomeMinutes
				b.Pool.Words = "Enough to welcome " + count(n, "person") + " with " +
					coins(policy.WelcomeMinutes) + " each."
				if n == 0 {
					b.Pool.Words = "A newcomer's welcome takes " + coins(policy.WelcomeMinutes) + "."
				}
			}
		case coin.KindIssuance:
			b.Issued.Words = hours(a.Minutes) + " were given to the group since " + p.day(founded) +
				", and became coins."
		case coin.KindPlace:
			b.Places = append(b.Places, place{
				Name: a.Name, What: "Has been given " +
					coins(a.Minutes), Icon: "place", GiveURL: "/coins/give?to=" + a.Account,
			})
		}
	}
}

// issuedLately adds up the newest work for the group by what was done.
func issuedLately(v *visit) ([]issuedLine, error) {
	got, err := ask[coin.Statement](v, v.self(), "coin.statement", filled(coin.StatementQuery{
		Account: coin.Issuance, Limit: issuedLinesRead,
	}))
	if err != nil {
		return nil, err
	}
	type sum struct {
		what    string
		minutes int64
	}
	sums := []sum{}
	for _, l := range got.Lines {
		what := upperFirst(l.Activity)
		if l.Reason != coin.ReasonEarn || l.Undone {
			continue
		}
		at := slices.IndexFunc(sums, func(s sum) bool { return s.what == what })
		if at < 0 {
			at = len(sums)
			sums = append(sums, sum{what: what})
		}
		sums[at].minutes -= l.Change
	}
	slices.SortStableFunc(sums, func(a, b sum) int { return int(b.minutes - a.minutes) })
	lines := []issuedLine{}
	for _, s := range sums[:min(len(sums), issuedLinesShown)] {
		lines = append(lines, issuedLine{Text: s.what, Hours: hours(s.minutes)})
	}
	return lines, nil
}

// hatWords say what a hat means.
var hatWords = map[string]string{
	member.HatGetting: "gets support", member.HatGiving: "gives support",
	member.HatArranging:   "arranges support",
	member.HatCoordinator: "coordinator", member.HatSecretary: "secretary",
}

func hats(worn []string) string {
	words := []string{}
	for _, hat := range worn {
		words = append(words, orElse(hatWords[hat], hat))
	}
	return upperFirst(strings.Join(words, ", "))
}

func faces(v *visit, list member.People) ([]face, string) {
	out := []face{}
	for _, m := range list.People {
		f := face{Name: m.Name, Hats: hats(m.Hats), GiveURL: "/coins/give?to=" + m.Person}
		for _, r := range m.Name {
			f.Initial = strings.ToUpper(string(r))
			break
		}
		switch {
		case !m.Active:
			f.Hats, f.GiveURL = "Invited, not here yet", ""
		case m.Person == v.by.Person():
			f.GiveURL = ""
		}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b face) int { return strings.Compare(a.Name, b.Name) })
	switch list.Others {
	case 0:
		return out, ""
	case 1:
		return out, "One more person belongs to the circle and chose not to be shown."
	default:
		return out, strconv.Itoa(list.Others) + " more people belong to the circle and chose not to be shown."
	}
}

func (p *Pages) alliance(a exchange.Alliance, links []Link) alliance {
	out := alliance{
		Name: a.Name, Place: a.Place, Position: position(a.Minutes), Agreed: a.Since != 0,
		Limit: "at most " + coins(a.LimitMinutes) + " either way", accountBar: barOf(a.Minutes,
			a.LimitMinutes),
		Health: p.health(a, links), State: allianceState(a),
	}
	if a.ReviewOn != "" {
		out.Review = "We look at this agreement again on " + writtenDay(a.ReviewOn) + "."
	}
	return out
}

func allianceState(a exchange.Alliance) chip {
	switch a.State {
	case "in-force":
		return chip{Text: "Allied", Tone: "done"}
	case "stopped":
		return chip{Text: "Stopped until people have looked at it", Tone: "back"}
	case "offered-by-us":
		return chip{Text: "Waiting for " + a.Name + " to agree", Tone: "waiting"}
	case "offered-by-them":
		return chip{Text: a.Name + " waits for us to agree", Tone: "waiting"}
	default:
		return chip{Text: "Known, not allied", Tone: ""}
	}
}

// health says whether the other circle can be reached. Coins are safe either way: letters wait.
func (p *Pages) health(a exchange.Alliance, links []Link) health {
	heard := "We have not heard from " + a.Name + " yet."
	silent := true
	if a.Heard > 0 {
		heard = "Last heard from " + a.Name + " " + p.ago(a.Heard) + "."
		silent = p.now().Sub(moment(a.Heard)) > silentAfter
	}
	at := slices.IndexFunc(links, func(l Link) bool { return l.Circle == a.Circle })
	switch {
	case at < 0:
		return health{Text: heard, Tone: "quiet"}
	case links[at].Connected:
		return health{Text: "Connected. " + heard}
	case silent:
		return health{Text: "Cannot be reached. Letters wait here. " + heard, Tone: "silent"}
	default:
		return health{Text: "Out of reach just now; we keep trying. " + heard, Tone: "quiet"}
	}
}
