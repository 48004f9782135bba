package finder

import (
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
)

// Cards and queries for measuring and for tests, and the plain way to answer a query.

const (
	drawnSectors = 11_000 // as many as there are in the country
	drawnWords   = 8_000
	drawnNames   = 3_000
)

var (
	drawnKinds = []string{
		"companionship", "personal care", "shopping", "cooking", "driving", "gardening", "peer support",
		"night sitting", "dog walking", "tech help",
	}
	drawnSkills = []string{
		"dementia", "end of life", "moving and handling", "medicines", "mental health", "sign language",
		"autism", "learning disability", "stroke", "first aid", "sewing", "repairs", "music", "reading aloud",
	}
	drawnLanguages = []string{"english", "urdu", "punjabi", "polish", "welsh", "twi", "bengali", "gujarati"}
)

// some draws a few words, the first ones most often.
func some(dice *rand.Rand, from []string, most int) directory.Tags {
	var tags []string
	for range 1 + dice.IntN(most) {
		tags = append(tags, from[min(dice.IntN(len(from)), dice.IntN(len(from)))])
	}
	return directory.TagsOf(tags)
}

// sectorAt is where the middle of a drawn sector is: in and between towns of an island.
func sectorAt(n int) directory.Point {
	dice := rand.New(rand.NewPCG(uint64(n), 7))
	town := rand.New(rand.NewPCG(uint64(n%200), 8))
	return directory.Point{
		Lat: 50_50000 + int32(town.IntN(4_50000)+dice.IntN(40000)),
		Lng: -4_50000 + int32(town.IntN(5_50000)+dice.IntN(60000)),
	}
}

// DrawCard makes the card number n of so many circles; the same always.
func DrawCard(n, circles int, until int64) directory.Card {
	dice := rand.New(rand.NewPCG(uint64(n), 1))
	sector := dice.IntN(drawnSectors)
	c := directory.Card{
		Version: 1, Circle: letter.CircleIDOf(strconv.AppendInt([]byte("circle "), int64(n%circles), 10)),
		ID: strconv.Itoa(n), Seq: uint64(n/circles) + 1, Until: until,
		Name:  word(dice, drawnNames) + " " + word(dice, drawnWords),
		Kinds: some(dice, drawnKinds, 4), Skills: some(dice, drawnSkills, 4),
		Languages: some(dice, drawnLanguages, 2),
		Sector:    "S" + strconv.Itoa(sector%10_000), At: sectorAt(sector), Open: dice.IntN(5) > 0,
	}
	for range 4 + dice.IntN(8) {
		c.Words += word(dice, drawnWords) + " "
	}
	for range 1 + dice.IntN(6) {
		from := dice.IntN(7)*48 + 14 + dice.IntN(20)
		c.Hours = c.Hours.Add(from, from+2+dice.IntN(16))
	}
	if dice.IntN(2) == 0 {
		c.Rate = int32(1800 + 50*dice.IntN(12))
	}
	return c
}

// word draws a made-up word; those with small numbers come more often.
func word(dice *rand.Rand, of int) string {
	n := min(dice.IntN(of), dice.IntN(of))
	syllables := []string{"ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "wy"}
	var w []byte
	for range 4 {
		w = append(w, syllables[n%10]...)
		n /= 10
	}
	return string(w)
}

// DrawQuery makes a query with three criteria, or now and then two or four.
func DrawQuery(n int, now int64) directory.Query {
	dice := rand.New(rand.NewPCG(uint64(n), 2))
	q := directory.Query{Now: now}
	criteria := []func(){
		func() { q.Kinds = some(dice, drawnKinds, 1) },
		func() { q.Skills = some(dice, drawnSkills, 1) },
		func() { q.Languages = some(dice, drawnLanguages, 1) },
		func() {
			at := sectorAt(dice.IntN(drawnSectors))
			q.Near, q.Within = &at, 1000*(1+dice.IntN(40))
		},
		func() {
			q.From = dice.IntN(7)*48 + 16 + dice.IntN(16)
			q.To = q.From + 1 + dice.IntN(4)
		},
		func() { q.MaxRate = int32(1800 + 50*dice.IntN(12)) },
		func() { q.OnlyOpen = true },
		func() {
			q.Text = word(dice, drawnWords)
			q.Text = q.Text[:min(3+dice.IntN(6), len(q.Text))]
		},
	}
	dice.Shuffle(len(criteria), func(i, j int) { criteria[i], criteria[j] = criteria[j], criteria[i] })
	for _, do := range criteria[:[]int{3, 3, 3, 3, 2, 4}[dice.IntN(6)]] {
		do()
	}
	return q
}

// Scan answers a query the plain way: it looks at every card. It returns their places in the list.
func Scan(cards []directory.Card, q directory.Query) (places []int, total int) {
	q = q.Filled()
	var hits []hit
	for i, c := range cards {
		if h, ok := meets(c, q); ok {
			h.number = uint32(i)
			hits = append(hits, h)
		}
	}
	slices.SortFunc(hits, compareHits)
	for i, h := range hits {
		if i >= q.Skip && i < q.Skip+q.Most {
			places = append(places, int(h.number))
		}
	}
	return places, len(hits)
}

func meets(c directory.Card, q directory.Query) (hit, bool) {
	h := hit{metres: -1}
	if c.Gone || c.Until <= q.Now || q.MaxRate > 0 && c.Rate > q.MaxRate || q.OnlyOpen && !c.Open {
		return h, false
	}
	for want, has := range map[*directory.Tags]directory.Tags{
		&q.Kinds: c.Kinds, &q.Skills: c.Skills, &q.Languages: c.Languages,
	} {
		for _, tag := range *want {
			if !slices.Contains(has, tag) {
				return h, false
			}
		}
	}
	for slot := q.From; slot < q.To; slot++ {
		if !c.Hours.Has(slot) {
			return h, false
		}
	}
	if q.Near != nil {
		far := distance(pointOf(*q.Near), pointOf(c.At))
		if c.Sector == "" || far > q.Within {
			return h, false
		}
		h.metres = int32(far)
	}
	if q.Text != "" {
		has := cardWords(c)
		for i, word := range fold(q.Text) {
			if i < directory.MaxQueryWords && !hasWord(has, word) {
				return h, false
			}
		}
	}
	k := keyOf(c.Circle, c.ID)
	h.draw = drawOf(k.draw(), today(q))
	return h, true
}
