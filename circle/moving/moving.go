// Package moving is the feature by which a person moves from one circle to another: both circles consent, the
// coins go along, and at every instant one circle at most is the person's home. Each step is a command in the
// log of the circle that takes it; what the other circle has to know is sent until it says that it has it.
//
//	home:        asked -> accepted -> leaving (coins go) -> left -> settled in
//	destination: waiting -> expected -> here
package moving

import (
	"cmp"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/letter"
)

const (
	dayMillis  = 24 * 60 * 60 * 1000
	linkMillis = 14 * dayMillis // of the first link in the new circle
	maxWaiting = 100            // of one other circle, without an answer

	tryAgainMillis = 60_000 // after coins came back
)

// Stage is how far a move is.
type Stage uint8

// The stages at home.
const (
	StageAsked    Stage = 1
	StageRefused  Stage = 2
	StageAccepted Stage = 3
	StageLeaving  Stage = 4 // coins are going
	StageLeft     Stage = 5
	StageSettled  Stage = 6 // the other circle knows
)

// The stages at the destination.
const (
	StageWaiting  Stage = 11
	StageDeclined Stage = 12
	StageExpected Stage = 13
	StageHere     Stage = 14 // may enter
)

// String names a stage, as in what views answer.
func (s Stage) String() string {
	switch s {
	case StageAsked:
		return "asked"
	case StageRefused:
		return "refused"
	case StageAccepted:
		return "accepted"
	case StageLeaving:
		return "leaving"
	case StageLeft:
		return "left"
	case StageSettled:
		return "settled"
	case StageWaiting:
		return "waiting"
	case StageDeclined:
		return "declined"
	case StageExpected:
		return "expected"
	case StageHere:
		return "here"
	}
	return "none"
}

// move is a person's move away from here. CBOR keys 15 and up are free.
type move struct {
	ID        string          `cbor:"1,keyasint"`
	Person    string          `cbor:"2,keyasint"`
	Circle    string          `cbor:"3,keyasint"` // where to
	Stage     Stage           `cbor:"4,keyasint"`
	Name      machine.Private `cbor:"5,keyasint"`
	Words     machine.Private `cbor:"6,keyasint"`
	At        int64           `cbor:"7,keyasint"` // of the stage
	Code      string          `cbor:"8,keyasint"` // for the coins there
	Origin    string          `cbor:"9,keyasint"` // of the pages there
	Link      machine.Hash    `cbor:"10,keyasint"`
	Delivered bool            `cbor:"11,keyasint"` // what the stage has to tell
	Self      machine.Private `cbor:"12,keyasint"` // who pays, for ourselves: see exchange.Pay
	Tried     int64           `cbor:"13,keyasint"` // when coins were sent last
	Had       int64           `cbor:"14,keyasint"` // what there was then
}

// arrival is somebody's move here. CBOR keys 12 and up are free.
type arrival struct {
	ID        string          `cbor:"1,keyasint"`
	Circle    string          `cbor:"2,keyasint"` // where from
	Stage     Stage           `cbor:"3,keyasint"`
	Name      machine.Private `cbor:"4,keyasint"`
	Words     machine.Private `cbor:"5,keyasint"`
	At        int64           `cbor:"6,keyasint"`
	Person    string          `cbor:"7,keyasint"` // once expected
	Code      string          `cbor:"8,keyasint"`
	Delivered bool            `cbor:"9,keyasint"`
	Was       string          `cbor:"10,keyasint,omitempty"` // their id at home, and its signature that
	Proof     []byte          `cbor:"11,keyasint,omitempty"` // they left: see courier.Leaving
}

// gone is who has left once already, by this circle's own word, but is not known here yet: it was put back to
// before they came.
type gone struct {
	ID     string `cbor:"1,keyasint"` // of the move away
	Circle string `cbor:"2,keyasint"`
	Code   string `cbor:"3,keyasint"`
	Origin string `cbor:"4,keyasint"`
}

var (
	moves    = machine.NewTable[move]("moving", "move")       // person
	byID     = machine.NewTable[string]("moving", "id")       // id: person
	arrivals = machine.NewTable[arrival]("moving", "arrival") // circle, id
	goners   = machine.NewTable[gone]("moving", "gone")       // person
)

var node = machine.Only(machine.ActorNode)

func arrivalKey(circle, id string) machine.Key { return machine.Key{}.Str(circle).Str(id) }

func moveKey(person string) machine.Key { return machine.Key{}.Str(person) }

type feature struct{ exchange.Options }

// Feature returns the feature's rules and views.
func Feature(o exchange.Options) machine.Feature {
	f := feature{o.Filled()}
	return machine.Feature{Name: "moving", Keeps: kept, Rules: []machine.Rule{
		machine.Do("moving.ask", "Ask another circle to become your home.", member.Signed, ask),
		machine.Do("moving.cancel", "Take back that you want to move.", member.Signed, cancel),
		machine.Do("moving.go", "Leave for the circle that said yes, with your coins.", member.Signed,
			f.leave),
		machine.Do("moving.decide", "Answer somebody of another circle who wants to move here.",
			member.Coordinator, f.decide),
		machine.Do("moving.asked", "Take a wish to move here from another circle.", machine.PeerOnly, asked),
		machine.Do("moving.answered", "Take another circle's answer to a wish to move there.",
			machine.PeerOnly, answered),
		machine.Do("moving.packet", "Take a person who has left another circle for here.",
			machine.PeerOnly, packet),
		machine.Do("moving.arrived", "Hear from another circle that somebody of ours is at home there.",
			machine.PeerOnly, f.arrived),
		machine.Do("moving.step", "Take moves on as far as they go.", node, f.step),
		machine.Do("moving.delivered", "Note that another circle has what a move had to tell.", node,
			delivered),
	}, Views: views()}
}

// put keeps a move at a stage, and returns it.
func put(tx *machine.Tx, m move, stage Stage) move {
	if m.Stage != stage {
		m.Stage, m.At, m.Delivered = stage, tx.Now(), false
		tx.Emit(machine.Event{
			Kind: "moving." + stage.String(), Audience: []string{m.Person}, Subject: m.Person,
		})
	}
	moves.Put(tx, moveKey(m.Person), m)
	return m
}

func ask(tx *machine.Tx, b Ask) (machine.None, error) {
	person := tx.Caller().Person()
	if _, err := member.Known(tx, person); err != nil {
		return machine.None{}, err
	}
	us, _ := member.TheCircle(tx)
	if _, known := exchange.KeyOf(tx, letter.CircleID(b.Circle)); !known || b.Circle == us.ID {
		return machine.None{}, machine.Refuse("unknown_circle", "This circle does not know %.40q.", b.Circle)
	}
	if m, ok := moves.Get(tx, moveKey(person)); ok && m.Stage != StageRefused {
		return machine.None{}, machine.Refuse("moving_already",
			"You are about to move already. Take that back first.")
	}
	b.Name.Of, b.Words.Of = person, person
	m := move{
		ID: exchange.FreshID(tx), Person: person, Circle: b.Circle, Name: b.Name,
		Words: b.Words,
	}
	byID.Put(tx, machine.Key{}.Str(m.ID), person)
	put(tx, m, StageAsked)
	return machine.None{}, nil
}

func cancel(tx *machine.Tx, _ Cancel) (machine.None, error) {
	person := tx.Caller().Person()
	m, ok := moves.Get(tx, moveKey(person))
	switch {
	case !ok:
		return machine.None{}, machine.Refuse("not_moving", "You are not about to move.")
	case m.Stage >= StageLeaving:
		return machine.None{}, machine.Refuse("left_already", "You have left already. To come back, ask from"+
			" there.")
	}
	moves.Delete(tx, moveKey(person))
	byID.Delete(tx, machine.Key{}.Str(m.ID))
	return machine.None{}, nil
}

// leave begins to leave: the person's coins go, as far as the limit between the circles lets them.
func (f feature) leave(tx *machine.Tx, b Go) (machine.None, error) {
	person := tx.Caller().Person()
	m, ok := moves.Get(tx, moveKey(person))
	if !ok || m.Stage != StageAccepted {
		return machine.None{}, machine.Refuse("not_accepted", "The other circle has not said yes yet.")
	}
	if balance, _ := coinsOf(tx, person); balance < 0 {
		return machine.None{}, machine.Refuse("coins_owed", "You have %d minutes less than nothing here."+
			" Earn them first, or ask the circle to give them to you.", -balance)
	}
	m.Link, m.Self = b.Link, b.Self
	return machine.None{}, f.goOn(tx, put(tx, m, StageLeaving))
}

// coinsOf is what a person has, and whether some of it is on its way.
func coinsOf(r machine.Reader, person string) (balance int64, onTheWay bool) {
	a, _ := coin.ReadBooks(r).Account(coin.Book, person)
	return a.Posted, a.HeldOut > 0 || a.HeldIn > 0
}

// goOn sends the coins that can be sent, or ends the person's life here when there are none.
func (f feature) goOn(tx *machine.Tx, m move) error {
	balance, onTheWay := coinsOf(tx, m.Person)
	switch {
	case onTheWay, balance < 0: // they may have spent more meanwhile: it has to come back first
		return nil
	case balance > 0:
		part := min(balance, roomTo(tx, m.Circle))
		if part <= 0 {
			return nil
		}
		m.Tried, m.Had = tx.Now(), balance
		moves.Put(tx, moveKey(m.Person), m)
		return tx.Try(func() error {
			_, err := f.PayFrom(tx, m.Person, exchange.Pay{
				Circle: m.Circle, Code: m.Code, Minutes: part, Self: m.Self,
			})
			return err
		})
	}
	to := member.Forward{Circle: m.Circle, Name: exchange.NameOf(tx, m.Circle), Origin: m.Origin}
	if err := member.Depart(tx, m.Person, to); err != nil {
		return err
	}
	stage := StageLeft
	if m.Link == (machine.Hash{}) { // they are there already
		stage = StageSettled
	}
	put(tx, m, stage)
	return nil
}

// roomTo is how many minutes may go to a circle before its limit.
func roomTo(r machine.Reader, circle string) int64 {
	a, ok := coin.ReadBooks(r).Account(coin.Book, coin.CirclePrefix+circle)
	if !ok {
		return 0
	}
	return a.Ceiling - a.Posted - a.HeldIn
}

func (f feature) step(tx *machine.Tx, b Step) (machine.None, error) {
	moved := uint32(0)
	for _, m := range due(tx, tx.Now()) {
		if b.Most > 0 && moved == min(b.Most, AtOnce) {
			break
		}
		if err := f.goOn(tx, m); err != nil {
			continue // such as a circle that was not heard yet: later
		}
		moved++
	}
	return machine.None{}, nil
}

// due lists moves that may go on: whoever is leaving and has no coins on the way. Coins that came back wait.
func due(r machine.Reader, now int64) (out []move) {
	for _, m := range moves.All(r, nil, nil) {
		balance, onTheWay := coinsOf(r, m.Person)
		ready := balance == 0 || balance > 0 && roomTo(r, m.Circle) > 0
		cameBack := balance != 0 && balance == m.Had && now < m.Tried+tryAgainMillis
		if m.Stage == StageLeaving && !onTheWay && ready && !cameBack {
			out = append(out, m)
		}
	}
	return out
}

// Due tells whether moving.step has something to do.
func Due(r machine.Reader, now int64) bool { return len(due(r, now)) > 0 }

func peerOf(tx *machine.Tx) (string, error) {
	circle, _ := tx.Caller().Peer()
	if _, known := exchange.KeyOf(tx, letter.CircleID(circle)); !known {
		return "", machine.Refuse("unknown_circle", "This circle does not know %.40q.", circle)
	}
	return circle, nil
}

func asked(tx *machine.Tx, b Asked) (machine.None, error) {
	circle, err := peerOf(tx)
	if err != nil {
		return machine.None{}, err
	}
	key := arrivalKey(circle, b.ID)
	if arrivals.Has(tx, key) {
		return machine.None{}, nil // a repeat
	}
	waiting := 0
	for _, a := range arrivals.All(tx, machine.Key{}.Str(circle), nil) {
		if a.Stage == StageWaiting {
			waiting++
		}
	}
	if waiting >= maxWaiting {
		return machine.None{}, machine.Refuse("too_many", "%d people of that circle wait already.", waiting)
	}
	b.Name.Of, b.Words.Of = machine.OfCircle, machine.OfCircle
	arrivals.Put(tx, key, arrival{
		ID: b.ID, Circle: circle, Stage: StageWaiting, Name: b.Name, Words: b.Words, At: tx.Now(),
	})
	tx.Emit(machine.Event{
		Kind: "moving.asked-here", Audience: []string{machine.AudienceCircle},
		Words: exchange.NameOf(tx, circle),
	})
	return machine.None{}, nil
}

func (f feature) decide(tx *machine.Tx, b Decide) (machine.None, error) {
	key := arrivalKey(b.Circle, b.ID)
	a, ok := arrivals.Get(tx, key)
	if !ok || a.Stage != StageWaiting {
		return machine.None{}, machine.Refuse("not_waiting", "Nobody waits for this answer.")
	}
	a.Stage, a.At = StageDeclined, tx.Now()
	if b.Yes {
		p := member.Arrive(tx, cmp.Or(b.Person, member.PersonID(tx.ID())), b.Name)
		err := cmp.Or(exchange.GiveCode(tx, p.ID, b.Code), coin.GiveBack(tx, p.ID))
		if err != nil {
			return machine.None{}, err
		}
		a.Stage, a.Person, a.Code = StageExpected, p.ID, b.Code
	}
	arrivals.Put(tx, key, a)
	if g, ok := goners.Get(tx, moveKey(a.Person)); ok {
		return machine.None{}, f.leaveOnceMore(tx, a.Person, g)
	}
	return machine.None{}, nil
}

func answered(tx *machine.Tx, b Answered) (machine.None, error) {
	circle, err := peerOf(tx)
	if err != nil {
		return machine.None{}, err
	}
	person, _ := byID.Get(tx, machine.Key{}.Str(b.ID))
	m, ok := moves.Get(tx, moveKey(person))
	if !ok || m.ID != b.ID || m.Circle != circle {
		return machine.None{}, machine.Refuse("not_asked", "Nobody here asked that.")
	}
	if b.Yes && (m.Stage == StageAccepted || m.Stage == StageLeaving) { // decided anew after a restore
		m.Code, m.Origin = b.Code, b.Origin
		moves.Put(tx, moveKey(person), m)
	}
	if m.Stage != StageAsked {
		return machine.None{}, nil // a repeat
	}
	stage := StageRefused
	if b.Yes {
		m.Code, m.Origin, stage = b.Code, b.Origin, StageAccepted
	}
	put(tx, m, stage)
	return machine.None{}, nil
}

func packet(tx *machine.Tx, b Packet) (machine.None, error) {
	circle, err := peerOf(tx)
	if err != nil {
		return machine.None{}, err
	}
	key := arrivalKey(circle, b.ID)
	a, ok := arrivals.Get(tx, key)
	switch {
	case !ok || a.Stage < StageExpected:
		return machine.None{}, machine.Refuse("not_expected", "Nobody is expected by this name.")
	case a.Stage == StageHere:
		return machine.None{}, nil // a repeat
	}
	if err := member.AddLink(tx, a.Person, b.Link, tx.Now()+linkMillis); err != nil {
		return machine.None{}, err
	}
	a.Stage, a.At, a.Was, a.Proof = StageHere, tx.Now(), b.Was, b.Proof
	arrivals.Put(tx, key, a)
	return machine.None{}, nil
}

// arrived has a person leave of whom this circle has forgotten that they left.
func (f feature) arrived(tx *machine.Tx, b Arrived) (machine.None, error) {
	circle, err := peerOf(tx)
	if err != nil {
		return machine.None{}, err
	}
	person, known := byID.Get(tx, machine.Key{}.Str(b.ID))
	if !known && b.Person != "" {
		return machine.None{}, f.leaveAgain(tx, circle, b)
	}
	m, ok := moves.Get(tx, moveKey(person))
	if !ok || m.ID != b.ID || m.Circle != circle || m.Stage >= StageLeaving {
		return machine.None{}, nil
	}
	m.Code, m.Origin = b.Code, b.Origin
	return machine.None{}, f.goOn(tx, put(tx, m, StageLeaving))
}

// leaveAgain has a person leave who did so by this circle's own signature, though it was put back to before
// they asked.
func (f feature) leaveAgain(tx *machine.Tx, circle string, b Arrived) error {
	g := gone{ID: b.ID, Circle: circle, Code: b.Code, Origin: b.Origin}
	if _, ok := member.Find(tx, b.Person); !ok {
		goners.Put(tx, moveKey(b.Person), g)
		return nil
	}
	m, ok := moves.Get(tx, moveKey(b.Person))
	if _, err := member.Known(tx, b.Person); err != nil || ok && m.Stage >= StageLeaving {
		return nil //nolint:nilerr // not here any more: nothing is to be done
	}
	return f.leaveOnceMore(tx, b.Person, g)
}

func (f feature) leaveOnceMore(tx *machine.Tx, person string, g gone) error {
	goners.Delete(tx, moveKey(person))
	byID.Put(tx, machine.Key{}.Str(g.ID), person)
	return f.goOn(tx, put(tx, move{
		ID: g.ID, Person: person, Circle: g.Circle, Code: g.Code, Origin: g.Origin,
	}, StageLeaving))
}

func delivered(tx *machine.Tx, b Delivered) (machine.None, error) {
	none := machine.Refuse("not_asked", "There is no such move.")
	if b.Stage >= StageWaiting {
		key := arrivalKey(b.Circle, b.ID)
		a, ok := arrivals.Get(tx, key)
		if !ok || a.Stage != b.Stage {
			return machine.None{}, none
		}
		a.Delivered = true
		arrivals.Put(tx, key, a)
		return machine.None{}, nil
	}
	person, _ := byID.Get(tx, machine.Key{}.Str(b.ID))
	m, ok := moves.Get(tx, moveKey(person))
	if !ok || m.ID != b.ID || m.Stage != b.Stage {
		return machine.None{}, none
	}
	stage := m.Stage
	switch {
	case b.Refused && m.Stage == StageAsked:
		stage = StageRefused
	case m.Stage == StageLeft && !b.Refused:
		stage = StageSettled
	}
	m.Delivered = true
	put(tx, m, stage)
	return machine.None{}, nil
}
