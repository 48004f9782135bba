package moving

import (
	"cmp"
	"slices"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/letter"
)

// Mine is how far one's own move is.
type Mine struct {
	Stage   string `json:"stage"` // none, asked, refused, accepted, leaving, left or settled
	Circle  string `json:"circle"`
	Name    string `json:"name"` // of the circle
	At      int64  `json:"at"`
	Origin  string `json:"origin,omitempty"` // of its pages, once it said yes
	Minutes int64  `json:"minutes"`          // still to go, while leaving
}

// Arrivals are those who want to move here, or did; newest first.
type Arrivals struct {
	Arrivals []Arrival `json:"arrivals"`
}

// Arrival is one of them.
type Arrival struct {
	ID     string `json:"id"`
	Circle string `json:"circle"`
	From   string `json:"from"` // its name
	Stage  string `json:"stage"`
	Name   string `json:"name"`
	Words  string `json:"words"`
	At     int64  `json:"at"`
	Person string `json:"person,omitempty"`
}

func views() []machine.View {
	return []machine.View{
		machine.Ask("moving.mine", "How far your move to another circle is.", member.Signed, mine),
		machine.Ask("moving.arrivals", "Who wants to move here from another circle.", member.Coordinator,
			listArrivals),
	}
}

func mine(rd machine.Read, _ machine.None) (Mine, error) {
	m, ok := moves.Get(rd, moveKey(rd.Person()))
	if !ok {
		return Mine{Stage: Stage(0).String()}, nil
	}
	out := Mine{
		Stage: m.Stage.String(), Circle: m.Circle, Name: exchange.NameOf(rd, m.Circle), At: m.At,
		Origin: m.Origin,
	}
	if m.Stage == StageLeaving {
		out.Minutes, _ = coinsOf(rd, m.Person)
	}
	return out, nil
}

func listArrivals(rd machine.Read, _ machine.None) (Arrivals, error) {
	out := Arrivals{Arrivals: []Arrival{}}
	for _, a := range arrivals.All(rd, nil, nil) {
		out.Arrivals = append(out.Arrivals, Arrival{
			ID: a.ID, Circle: a.Circle, From: exchange.NameOf(rd, a.Circle), Stage: a.Stage.String(),
			Name: rd.Text(a.Name), Words: rd.Text(a.Words), At: a.At, Person: a.Person,
		})
	}
	slices.SortFunc(out.Arrivals, func(a, b Arrival) int { return cmp.Compare(b.At, a.At) })
	return out, nil
}

func kept(rd machine.Read, person string) []machine.Kept {
	m, ok := moves.Get(rd, moveKey(person))
	if !ok {
		return nil
	}
	return []machine.Kept{{
		What: "a move to " + exchange.NameOf(rd, m.Circle) + ", " + m.Stage.String(), At: m.At,
		Words: rd.Text(m.Words),
	}}
}

// Outgoing is what a move has to tell another circle.
type Outgoing struct {
	Circle letter.CircleID
	ID     string
	Stage  Stage        // asked, expected, declined or left
	Name   string       // of asked
	Words  string       // of asked
	Code   string       // of expected
	Link   machine.Hash // of left
	Person string       // by their id at home: of asked, left and here
	Proof  []byte       // of here: the home's signature that they left
}

// Again lists what is told once more to circles that have begun a new life of their letters, for they may
// have forgotten it: who is at home here now; and who wants to go there or has left for it.
func Again(r machine.Reader, open func(p machine.Private) ([]byte, bool)) []Outgoing {
	var out []Outgoing
	for _, a := range arrivals.All(r, nil, nil) {
		if a.Stage == StageHere {
			out = append(out, Outgoing{
				Circle: letter.CircleID(a.Circle), ID: a.ID, Stage: StageHere, Code: a.Code,
				Person: a.Was, Proof: a.Proof,
			})
		}
	}
	for _, m := range moves.All(r, nil, nil) {
		if m.Stage == StageRefused || m.Link == (machine.Hash{}) && m.Stage >= StageLeaving {
			continue // not to be taken, or back here from an older copy and at home there
		}
		o := Outgoing{
			Circle: letter.CircleID(m.Circle), ID: m.ID, Stage: StageAsked, Link: m.Link, Person: m.Person,
		}
		if name, ok := open(m.Name); ok {
			words, _ := open(m.Words)
			o.Name, o.Words = string(name), string(words)
			out = append(out, o)
		}
		if m.Stage == StageSettled {
			o.Stage = StageLeft
			out = append(out, o)
		}
	}
	return out
}

// Outgoings lists what is to go to other circles. Open gives private data in clear; what cannot be read any
// more is left out.
func Outgoings(r machine.Reader, open func(p machine.Private) ([]byte, bool)) []Outgoing {
	var out []Outgoing
	for _, m := range moves.All(r, nil, nil) {
		o := Outgoing{
			Circle: letter.CircleID(m.Circle), ID: m.ID, Stage: m.Stage, Link: m.Link, Person: m.Person,
		}
		if m.Delivered || m.Stage != StageAsked && m.Stage != StageLeft {
			continue
		}
		if m.Stage == StageAsked {
			name, one := open(m.Name)
			words, two := open(m.Words)
			if !one || !two {
				continue
			}
			o.Name, o.Words = string(name), string(words)
		}
		out = append(out, o)
	}
	for _, a := range arrivals.All(r, nil, nil) {
		if !a.Delivered && (a.Stage == StageExpected || a.Stage == StageDeclined) {
			out = append(out, Outgoing{
				Circle: letter.CircleID(a.Circle), ID: a.ID, Stage: a.Stage, Code: a.Code,
			})
		}
	}
	return out
}

// Standing is how far one move is, for whoever looks after the circle's node.
type Standing struct {
	ID     string
	Circle letter.CircleID // the other one
	Person string          // here; of an arrival empty before it is expected
	Stage  Stage
}

// Standings lists all moves, away from here and to here.
func Standings(r machine.Reader) (away, here []Standing) {
	for _, m := range moves.All(r, nil, nil) {
		away = append(away, Standing{m.ID, letter.CircleID(m.Circle), m.Person, m.Stage})
	}
	for _, a := range arrivals.All(r, nil, nil) {
		here = append(here, Standing{a.ID, letter.CircleID(a.Circle), a.Person, a.Stage})
	}
	return away, here
}
