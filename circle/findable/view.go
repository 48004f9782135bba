package findable

import (
	"cmp"
	"slices"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
)

// Mine is what members of other circles may see of the person.
type Mine struct {
	Shown bool           `json:"shown"`
	Card  directory.Card `json:"card"` // as they see it; of no meaning when not shown
	Since int64          `json:"since"`
	Until int64          `json:"until"`
	Taken []Taken        `json:"taken"` // back, newest first, until nobody can hold it any more
}

// Taken is a card that was taken back.
type Taken struct {
	Card    string   `json:"card"` // its id
	At      int64    `json:"at"`
	Until   int64    `json:"until"` // then it is void everywhere by itself
	Holders []Holder `json:"holders"`
}

// Holder is a circle that may have had the card.
type Holder struct {
	Circle string `json:"circle"`
	Name   string `json:"name"`
	Gone   int64  `json:"gone"` // when it said that it has the card no more; 0: it has not answered yet
}

// SectorList is where postcode sectors are, in order of their names.
type SectorList struct {
	Sectors []Sector `json:"sectors"`
}

func mine(rd machine.Read, _ machine.None) (Mine, error) {
	out := Mine{Taken: []Taken{}}
	person := rd.Person()
	for _, s := range cards.All(rd, nil, nil) {
		switch {
		case s.Person != person:
		case s.Gone:
			out.Taken = append(out.Taken, Taken{
				Card: s.ID, At: s.Since, Until: s.Until, Holders: holders(rd, s),
			})
		default:
			raw, ok := rd.Bytes(s.Card)
			if card, err := s.card(rd, raw); ok && err == nil {
				out.Shown, out.Card, out.Since, out.Until = true, card, s.Since, s.Until
			}
		}
	}
	slices.SortFunc(out.Taken, func(a, b Taken) int { return cmp.Compare(b.At, a.At) })
	return out, nil
}

func holders(r machine.Reader, s shown) []Holder {
	out := []Holder{}
	for _, p := range exchange.Peers(r) {
		a, _ := answers.Get(r, machine.Key{}.Str(s.ID).Str(string(p.Circle)))
		out = append(out, Holder{Circle: string(p.Circle), Name: p.Name, Gone: a.At})
	}
	return out
}

// card puts a head on what is kept of a card.
func (s shown) card(r machine.Reader, content []byte) (directory.Card, error) {
	var c directory.Card
	if !s.Gone {
		if err := letter.Unmarshal(content, directory.MaxCardBytes, &c); err != nil {
			return c, err
		}
	}
	us, _ := member.TheCircle(r)
	c.Circle, c.ID, c.Seq, c.Until, c.Gone = letter.CircleID(us.ID), s.ID, s.Seq, s.Until, s.Gone
	return c, c.Check()
}

func listSectors(rd machine.Read, _ machine.None) (SectorList, error) {
	out := SectorList{Sectors: []Sector{}}
	for key, p := range sectors.All(rd, nil, nil) {
		out.Sectors = append(out.Sectors, Sector{Sector: string(key[:len(key)-1]), Lat: p.Lat, Lng: p.Lng})
	}
	return out, nil
}

// kept is what the feature keeps about a person.
func kept(rd machine.Read, person string) []machine.Kept {
	var out []machine.Kept
	for _, s := range cards.All(rd, nil, nil) {
		switch {
		case s.Person != person:
		case s.Gone:
			out = append(out, machine.Kept{What: "a card for other circles, taken back", At: s.Since})
		default:
			words := "what is on it cannot be read"
			raw, ok := rd.Bytes(s.Card)
			if c, err := s.card(rd, raw); ok && err == nil {
				words = c.Name
			}
			out = append(out, machine.Kept{What: "a card for other circles", At: s.Since, Words: words})
		}
	}
	return append(out, keptContacts(rd, person)...)
}

// Cards returns the circle's cards from a number on, in order, for the node to sign. Open gives private data
// in clear; the first card that it cannot read, and what comes after it, have to wait.
func Cards(
	r machine.Reader, after uint64, open func(p machine.Private) ([]byte, bool),
) []directory.Card {
	var fresh []shown
	for _, s := range cards.All(r, nil, nil) {
		if s.Seq > after {
			fresh = append(fresh, s)
		}
	}
	slices.SortFunc(fresh, func(a, b shown) int { return cmp.Compare(a.Seq, b.Seq) })
	var out []directory.Card
	for _, s := range fresh {
		raw, ok := open(s.Card)
		c, err := s.card(r, raw)
		if !ok && !s.Gone || err != nil {
			break
		}
		out = append(out, c)
	}
	return out
}

// Unanswered is a card that was taken back, and a circle that has not said yet that it is gone there.
type Unanswered struct {
	Circle letter.CircleID
	Card   directory.Card
}

// Recalls lists what is still to be answered.
func Recalls(r machine.Reader) []Unanswered {
	var out []Unanswered
	for _, s := range cards.All(r, nil, nil) {
		if !s.Gone {
			continue
		}
		card, err := s.card(r, nil)
		if err != nil {
			continue
		}
		for _, h := range holders(r, s) {
			if h.Gone == 0 {
				out = append(out, Unanswered{Circle: letter.CircleID(h.Circle), Card: card})
			}
		}
	}
	return out
}
