package web

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/directory"
)

// Finder searches among the members of all circles that can be found.
type Finder func(ctx context.Context, by machine.Caller, q directory.Query) ([]directory.Found, int, error)

const (
	mileMetres   = 1609.344
	foundAtOnce  = 20
	mapWidth     = 360
	mapHeight    = 260
	mapMargin    = 45
	pointsDegree = 100_000
)

// findBody is what templates/find/find.html shows.
type findBody struct {
	Text, Language      string
	Kinds, Places, Near []option
	Days, Parts         []option
	Open                bool
	Asked, Detailed     bool // for something; for more than words
	Count               string
	Found               []cardView
	Map                 *findMap
	More                string
}

// cardView is a member's card as it is shown.
type cardView struct {
	Name, Initial, Circle, Words, Far, Place, Times, Rate string
	Kinds, Skills, Languages                              []string
	Open                                                  bool
	AskURL                                                string // of others only
}

// findMap draws where those found are, by the middle of their postcode sectors.
type findMap struct {
	Width, Height int
	Words         string
	Dots          []mapDot
}

type mapDot struct {
	X, Y, R, LabelY int
	Label           string
	Count           int
}

// parts of a day, as they can be chosen; in minutes.
var parts = []struct {
	text     string
	from, to int
}{{"morning", 8 * 60, 12 * 60}, {"afternoon", 12 * 60, 17 * 60}, {"evening", 17 * 60, 21 * 60}}

var days = []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}

func (p *Pages) find(v *visit) error {
	in := v.r.URL.Query()
	b := findBody{
		Text: strings.TrimSpace(in.Get("q")), Language: strings.TrimSpace(in.Get("language")),
		Open: in.Get("open") != "", Asked: len(in) > 0, Kinds: choose(kindsOfSupport(), in.Get("kind")),
		Near: choose(distances(), cmp.Or(in.Get("within"), "10")),
	}
	q := directory.Query{
		Text: b.Text, Languages: directory.TagsOf([]string{b.Language}), OnlyOpen: b.Open, Most: foundAtOnce,
		Kinds: directory.TagsOf([]string{in.Get("kind")}),
	}
	in.Del("done")
	for name := range in {
		words := name == "q" || name == "within" || name == "for" || name == "skip"
		b.Detailed = b.Detailed || !words && in.Get(name) != ""
	}
	q.Skip, _ = strconv.Atoi(in.Get("skip")) //nolint:errcheck // the first ones then
	var err error
	if b.Places, err = p.places(v, in.Get("from"), in.Get("within"), &q); err != nil {
		return err
	}
	b.Days, b.Parts = timeOptions(in.Get("day"), in.Get("part"), &q)
	found, total, err := p.cfg.Find(v.r.Context(), v.self(), q)
	if err != nil {
		return err
	}
	names, err := v.circleNames()
	if err != nil {
		return err
	}
	mine, err := ask[findable.Mine](v, v.self(), "findable.mine", nil)
	if err != nil {
		return err
	}
	for _, f := range found {
		shown := viewOf(f.Card, f.Metres, names)
		if own := mine.Shown && mine.Card.Circle == f.Card.Circle && mine.Card.ID == f.Card.ID; !own {
			shown.AskURL = askURL(f.Card)
		}
		b.Found = append(b.Found, shown)
	}
	b.Map, b.Count = drawMap(found), countWords(total)
	if left := total - q.Skip - len(found); left > 0 && len(found) > 0 {
		in.Set("skip", strconv.Itoa(q.Skip+len(found)))
		b.More = "/find?" + in.Encode()
	}
	return v.show(http.StatusOK, "find/find", "Find someone", wayBack{}, b)
}

// places lists the sectors to search around, and puts the one chosen into the query.
func (p *Pages) places(v *visit, from, within string, q *directory.Query) ([]option, error) {
	list, err := ask[findable.SectorList](v, v.self(), "findable.sectors", nil)
	if err != nil {
		return nil, err
	}
	options := []option{}
	for _, s := range list.Sectors {
		options = append(options, option{Value: s.Sector, Text: s.Sector})
		if s.Sector == from {
			miles, err := strconv.Atoi(within)
			if err != nil || miles <= 0 {
				miles = 10
			}
			q.Near, q.Within = &directory.Point{Lat: s.Lat, Lng: s.Lng}, int(float64(miles)*mileMetres)
		}
	}
	return choose(options, from), nil
}

func distances() []option {
	return []option{
		{Value: "1", Text: "1 mile"},
		{Value: "3", Text: "3 miles"},
		{Value: "5", Text: "5 miles"},
		{Value: "10", Text: "10 miles"},
		{Value: "25", Text: "25 miles"},
	}
}

// timeOptions lists days and their parts; of a day and a part, the middle two hours are asked for.
func timeOptions(day, part string, q *directory.Query) (ofDay, ofPart []option) {
	for i, d := range days {
		ofDay = append(ofDay, option{Value: strconv.Itoa(i + 1), Text: d})
	}
	for i, x := range parts {
		ofPart = append(ofPart, option{Value: strconv.Itoa(i + 1), Text: upperFirst(x.text)})
	}
	d, errDay := strconv.Atoi(day)
	x, errPart := strconv.Atoi(part)
	if errDay == nil && errPart == nil && d >= 1 && d <= len(days) && x >= 1 && x <= len(parts) {
		middle := (parts[x-1].from + parts[x-1].to) / 2 / 30
		q.From = (d-1)*48 + middle - 2
		q.To = q.From + 4
	}
	return choose(ofDay, day), choose(ofPart, part)
}

func kindsOfSupport() []option {
	options := []option{}
	for _, kind := range findable.Kinds {
		options = append(options, option{Value: kind, Text: upperFirst(kind)})
	}
	return options
}

func countWords(n int) string {
	switch n {
	case 0:
		return "Nobody is found."
	case 1:
		return "One person is found."
	default:
		return strconv.Itoa(n) + " people are found."
	}
}

// circleNames are the names of the circles this one knows, by id, with its own.
func (v *visit) circleNames() (map[string]string, error) {
	if err := v.meetCircle(); err != nil {
		return nil, err
	}
	known, err := ask[exchange.Alliances](v, v.self(), "exchange.alliances", nil)
	if err != nil {
		return nil, err
	}
	names := map[string]string{v.about.ID: v.about.Name + ", our circle"}
	for _, a := range known.Alliances {
		names[a.Circle] = a.Name
	}
	return names, nil
}

func viewOf(c directory.Card, metres int, names map[string]string) cardView {
	shown := cardView{
		Name: c.Name, Initial: initialOf(c.Name), Words: c.Words, Place: c.Sector, Open: c.Open,
		Circle: cmp.Or(names[string(c.Circle)], "another circle"), Kinds: capital(c.Kinds),
		Skills: capital(c.Skills), Languages: capital(c.Languages), Times: hoursInWords(c.Hours),
	}
	if metres >= 0 {
		shown.Far = milesInWords(metres)
	}
	if c.Rate > 0 {
		shown.Rate = pounds(int64(c.Rate)) + " an hour"
	}
	return shown
}

func pounds(pence int64) string {
	text := strconv.FormatInt(pence/100, 10)
	if rest := pence % 100; rest != 0 {
		text += "." + strconv.FormatInt(100+rest, 10)[1:]
	}
	return "£" + text
}

func initialOf(name string) string {
	for _, r := range name {
		return strings.ToUpper(string(r))
	}
	return ""
}

func capital(words []string) []string {
	out := []string{}
	for _, w := range words {
		out = append(out, upperFirst(w))
	}
	return out
}

func milesInWords(metres int) string {
	switch miles := int(math.Round(float64(metres) / mileMetres)); miles {
	case 0:
		return "less than a mile away"
	case 1:
		return "about a mile away"
	default:
		return "about " + strconv.Itoa(miles) + " miles away"
	}
}

// hoursInWords says on which parts of which days somebody has time: "Monday morning, Friday evening".
func hoursInWords(h directory.Hours) string {
	var words []string
	for d, day := range days {
		var of []string
		for x := range parts {
			if hasPart(h, d, x) {
				of = append(of, parts[x].text)
			}
		}
		switch {
		case len(of) == len(parts):
			words = append(words, day+" all day")
		case len(of) > 0:
			words = append(words, day+" "+strings.Join(of, " and "))
		}
	}
	return strings.Join(words, ", ")
}

// hasPart tells whether all of a part of a day is among the hours.
func hasPart(h directory.Hours, day, part int) bool {
	for slot := parts[part].from / 30; slot < parts[part].to/30; slot++ {
		if !h.Has(day*48 + slot) {
			return false
		}
	}
	return true
}

// drawMap places the sectors of those found, the north on top; nil when there is nothing to draw.
func drawMap(found []directory.Found) *findMap {
	dots := map[directory.Point]*mapDot{}
	var at []directory.Point
	for _, f := range found {
		if f.Card.Sector == "" {
			continue
		}
		if dots[f.Card.At] == nil {
			dots[f.Card.At] = &mapDot{Label: f.Card.Sector}
			at = append(at, f.Card.At)
		}
		dots[f.Card.At].Count++
	}
	if len(at) == 0 {
		return nil
	}
	byLat := func(a, b directory.Point) int { return cmp.Compare(a.Lat, b.Lat) }
	byLng := func(a, b directory.Point) int { return cmp.Compare(a.Lng, b.Lng) }
	south, north := slices.MinFunc(at, byLat), slices.MaxFunc(at, byLat)
	west, east := slices.MinFunc(at, byLng), slices.MaxFunc(at, byLng)
	middle := float64(south.Lat+north.Lat) / 2 / pointsDegree
	shrink := math.Cos(middle * math.Pi / 180) // of a degree of longitude
	wide := max(float64(east.Lng-west.Lng)*shrink, 1)
	high := max(float64(north.Lat-south.Lat), 1)
	scale := min((mapWidth-2*mapMargin)/wide, (mapHeight-2*mapMargin)/high)
	m := &findMap{Width: mapWidth, Height: mapHeight}
	var words []string
	for _, p := range at {
		d := dots[p]
		x := float64(p.Lng-west.Lng)*shrink - wide/2
		y := float64(p.Lat-south.Lat) - high/2
		d.X, d.Y = mapWidth/2+int(x*scale), mapHeight/2-int(y*scale)
		d.R = 10 + 4*min(d.Count, 5)
		d.LabelY = d.Y + d.R + 22
		m.Dots = append(m.Dots, *d)
		words = append(words, d.Label+": "+strconv.Itoa(d.Count))
	}
	m.Words = "Where they are. " + strings.Join(words, ", ")
	return m
}
