// Package coin holds a circle's Care Coins: one coin is one hour freely given. Coins are issued for work done
// for the group, paid for help, given to people, places and the pool, and never lost: every minute is on a
// double-entry book.
package coin

import (
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/ledger"
)

// Book is the name of the coin book; its unit is the minute.
const Book = "coins"

// Accounts that every circle has, and the prefixes of the others. A person's account is named by their id.
const (
	Issuance     = "issuance"
	Pool         = "pool"
	PlacePrefix  = "place/"
	CirclePrefix = "circle/"
	LossPrefix   = "loss/" // what the circle bears where another circle did not pay

	// Of people whom the circle forgot when it was put back to an older copy: all of them, where it is not
	// known whose it was, and each by their id.
	Suspense       = "suspense"
	SuspensePrefix = "suspense/"
)

// Account kinds.
const (
	KindIssuance = "issuance"
	KindPool     = "pool"
	KindPerson   = "person"
	KindPlace    = "place"
	KindCircle   = "circle"
	KindLoss     = "loss"
	KindSuspense = "suspense"
)

// Reasons of movements, as they stand in the book. Append-only.
const (
	ReasonEarn     = "earn"      // work for the group
	ReasonPay      = "pay"       // help paid by the one helped
	ReasonGift     = "gift"      // a gift by hand
	ReasonAutoGift = "auto-gift" // a gift by standing wish
	ReasonWelcome  = "welcome"   // the pool's gift to a newcomer
	ReasonAbroad   = "abroad"    // to or from another circle
	ReasonReverse  = "reverse"   // an act undone
	ReasonSetOff   = "set-off"   // between circles, in a round: see circle/netting
	ReasonKept     = "kept"      // kept while the person was not known, and theirs again
)

// Policy is the circle's coin policy in force.
type Policy struct {
	_              struct{} `cbor:",toarray"`
	FloorMinutes   int64
	WelcomeMinutes int64
	AutoGift       bool
	EarnDayMinutes int64
	ReviewOn       string
	Decision       string
	Since          int64
}

// Act is what a movement was: the part of it that is not in the book.
type Act struct {
	_        struct{} `cbor:",toarray"`
	Transfer machine.ID
	Seq      uint64 // the ledger entry
	Reason   string
	From, To string // accounts
	Minutes  int64
	Activity string
	Place    string
	Note     machine.Private
	Picture  bool // there is one, with Alt
	Alt      machine.Private
	By       string // who entered it, where that is not From
	At       int64
	Travels  bool // note and picture go along with the coins
}

type place struct {
	_     struct{} `cbor:",toarray"`
	ID    string   // place/NAME
	Name  string
	Added int64
}

// settings are a person's own wishes about coins.
type settings struct {
	_        struct{} `cbor:",toarray"`
	AutoGift string   // account; empty: keep
	Welcomed int64    // when; 0: not yet
}

// earned adds up what a person earned on one day, for the daily limit.
type earned struct {
	_       struct{} `cbor:",toarray"`
	Minutes int64
}

var (
	policies = machine.NewTable[Policy]("coin", "policy")
	acts     = machine.NewTable[Act]("coin", "act")                 // by transfer
	pictures = machine.NewTable[machine.Private]("coin", "picture") // by transfer
	stops    = machine.NewTable[machine.Private]("coin", "stopped") // by account: why it is
	places   = machine.NewTable[place]("coin", "place")
	wishes   = machine.NewTable[settings]("coin", "wish")
	circles  = machine.NewTable[string]("coin", "circle-name") // account, name
	days     = machine.NewTable[earned]("coin", "earned")      // person, day
)

// PolicyOf returns the policy in force. Before the circle set one, coins cannot move.
func PolicyOf(r machine.Reader) (Policy, error) {
	p, ok := policies.Get(r, machine.Key{})
	if !ok {
		return p, machine.Refuse("no_policy",
			"The circle has not set its coin policy yet. Ask the Secretary.")
	}
	return p, nil
}

// Feature returns the feature's rules and views.
func Feature() machine.Feature {
	return machine.Feature{Name: "coin", Rules: rules(), Views: views(), MayRun: true, Keeps: kept}
}

func rules() []machine.Rule {
	return []machine.Rule{
		machine.Do("coin.policy", "Write down the coin policy that the circle decided.",
			member.Secretary, setPolicy),
		machine.Do("coin.place", "Name a place that can be given coins.", member.Coordinator, addPlace),
		machine.Do("coin.earn", "Record time freely given to the group.", member.Coordinator, earn),
		machine.Do("coin.pay", "Thank a member for help with your coins.", member.Signed, pay),
		machine.Do("coin.give", "Give coins to a person, a place or the pool.",
			machine.AnyOf(member.Signed, machine.Only(machine.ActorCircle)), give),
		machine.Do("coin.welcome", "Give a newcomer the welcome gift out of the pool.", member.Coordinator,
			welcome),
		machine.Do("coin.autogift", "Have the coins you earn given on by themselves.",
			member.Signed, autoGift),
		machine.Do("coin.freeze", "Stop an account, or let it go on.", member.Coordinator, freeze),
		machine.Do("coin.import", "Record many transfers at once: all of them, or none.",
			machine.Only(machine.ActorOperator), importMany),
		machine.Do("coin.reverse", "Undo one recorded act.", member.Coordinator, reverse),
	}
}

// Movement asks Move for one movement of coins between two accounts.
type Movement struct {
	Op       ledger.Op // OpPost or OpHold
	ID       machine.ID
	From, To string
	Minutes  int64
	Act      Act // Reason, Activity, Place, Note ...; the rest is filled in
	Picture  machine.Private
	On       int64 // effective time, Unix milliseconds; 0: now
}

// Move posts or holds coins and keeps what the movement was.
func Move(tx *machine.Tx, m Movement) (Act, error) {
	if m.From == m.To {
		return Act{}, machine.Refuse("to_self", "These coins are there already. Choose somebody else.")
	}
	receipts, err := ledger.Apply(Store(tx), tx.Now(), []ledger.Transfer{{
		ID: ledger.ID(m.ID), Op: m.Op, Book: Book, Reason: m.Act.Reason, Effective: m.On,
		Legs: []ledger.Leg{{Account: m.From, Change: -m.Minutes}, {Account: m.To, Change: m.Minutes}},
	}})
	if err != nil {
		return Act{}, inWords(tx, err, m)
	}
	a := m.Act
	a.Transfer, a.Seq, a.At = m.ID, receipts[0].Seq, tx.Now()
	a.From, a.To, a.Minutes = m.From, m.To, m.Minutes
	key := machine.Key{}.Bytes(m.ID[:])
	if len(m.Picture.Data) > 0 {
		a.Picture = true
		pictures.Put(tx, key, m.Picture)
	}
	if receipts[0].Repeated {
		acts.Put(tx, key, a)
	} else {
		acts.Add(tx, key, a)
	}
	return a, nil
}

// Finish settles or voids a held movement.
func Finish(tx *machine.Tx, op ledger.Op, id, hold machine.ID, reason string) error {
	_, err := ledger.Apply(Store(tx), tx.Now(), []ledger.Transfer{{
		ID: ledger.ID(id), Op: op, Book: Book, Of: ledger.ID(hold), Reason: reason,
	}})
	return err
}

// OpenPerson makes sure a person has a coin account. The floor is the policy's.
func OpenPerson(tx *machine.Tx, person string) error {
	if _, err := member.Known(tx, person); err != nil {
		return err // also one who left: coins for them would reach nobody
	}
	return openKnown(tx, person)
}

// openKnown is OpenPerson for one who is known to be here.
func openKnown(tx *machine.Tx, person string) error {
	if a, ok := Store(tx).Account(Book, person); ok && a.Kind == KindPerson {
		return nil
	}
	p, err := PolicyOf(tx)
	if err != nil {
		return err
	}
	return open(tx, person, KindPerson, p.FloorMinutes, ledger.Unlimited)
}

func open(tx *machine.Tx, id, kind string, floor, ceiling int64) error {
	return ledger.Open(Store(tx), tx.Now(), ledger.AccountSpec{
		Book: Book, ID: id, Kind: kind, Floor: floor, Ceiling: ceiling, State: ledger.StateOpen,
	})
}

// SetCircleLimit opens the account for another circle, or changes its limit either way.
func SetCircleLimit(tx *machine.Tx, circle, name string, limitMinutes int64) error {
	circles.Put(tx, machine.Key{}.Str(CirclePrefix+circle), name)
	spec := ledger.AccountSpec{
		Book: Book, ID: CirclePrefix + circle, Kind: KindCircle,
		Floor: -limitMinutes, Ceiling: limitMinutes, State: ledger.StateOpen,
	}
	if _, ok := Store(tx).Account(Book, spec.ID); ok {
		return ledger.Amend(Store(tx), tx.Now(), spec)
	}
	return ledger.Open(Store(tx), tx.Now(), spec)
}

// kindOf tells what kind of account an id names.
func kindOf(id string) string {
	switch {
	case id == Issuance:
		return KindIssuance
	case id == Pool:
		return KindPool
	case strings.HasPrefix(id, PlacePrefix):
		return KindPlace
	case strings.HasPrefix(id, CirclePrefix):
		return KindCircle
	case strings.HasPrefix(id, LossPrefix):
		return KindLoss
	case id == Suspense, strings.HasPrefix(id, SuspensePrefix):
		return KindSuspense
	default:
		return KindPerson
	}
}
