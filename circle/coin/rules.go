package coin

import (
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/ledger"
)

// Moved is the answer to a command that moved coins.
type Moved struct {
	Transfer machine.ID `cbor:"1,keyasint" json:"transfer"`
	Seq      uint64     `cbor:"2,keyasint" json:"seq"`
	// of the account the coins left, or reached when earned
	Balance int64 `cbor:"3,keyasint" json:"balanceMinutes"`
}

func setPolicy(tx *machine.Tx, b SetPolicy) (machine.None, error) {
	old, err := PolicyOf(tx)
	policies.Put(tx, machine.Key{}, Policy{
		FloorMinutes: b.FloorMinutes, WelcomeMinutes: b.WelcomeMinutes, AutoGift: b.AutoGift,
		EarnDayMinutes: b.EarnDayMinutes, ReviewOn: b.ReviewOn, Decision: b.Decision, Since: tx.Now(),
	})
	tx.Emit(machine.Event{
		Kind: "coin.policy-set", Audience: []string{machine.AudienceCircle}, Words: b.Decision,
	})
	if err != nil { // the first one: the circle's own accounts begin here
		if err := open(tx, Issuance, KindIssuance, -ledger.Unlimited, 0); err != nil {
			return machine.None{}, err
		}
		return machine.None{}, open(tx, Pool, KindPool, 0, ledger.Unlimited)
	}
	if old.FloorMinutes == b.FloorMinutes {
		return machine.None{}, nil
	}
	return machine.None{}, moveFloors(tx, b.FloorMinutes)
}

func moveFloors(tx *machine.Tx, floor int64) error {
	var change []ledger.AccountSpec
	Store(tx).Accounts(Book, func(a ledger.Account) bool {
		if a.Kind == KindPerson && a.State != ledger.StateClosed {
			spec := a.Spec()
			spec.Floor = floor
			change = append(change, spec)
		}
		return true
	})
	for _, spec := range change {
		if err := ledger.Amend(Store(tx), tx.Now(), spec); err != nil {
			return err
		}
	}
	return nil
}

func addPlace(tx *machine.Tx, b AddPlace) (machine.None, error) {
	if _, err := PolicyOf(tx); err != nil {
		return machine.None{}, err
	}
	id := PlacePrefix + b.Place
	key := machine.Key{}.Str(id)
	if places.Has(tx, key) {
		return machine.None{}, machine.Refuse("place_exists", "There is a place %q already.", b.Place)
	}
	places.Put(tx, key, place{ID: id, Name: b.Name, Added: tx.Now()})
	return machine.None{}, open(tx, id, KindPlace, 0, ledger.Unlimited)
}

func earn(tx *machine.Tx, b Earn) (Moved, error) {
	p, err := PolicyOf(tx)
	if err != nil {
		return Moved{}, err
	}
	on := b.On
	if on == 0 {
		on = tx.Now()
	}
	if on > tx.Now() || on < tx.Now()-366*dayMillis {
		return Moved{}, machine.Refuse("bad_time", "The work lies in the past year. Check the day.")
	}
	if err := OpenPerson(tx, b.Person); err != nil {
		return Moved{}, err
	}
	dayKey := machine.Key{}.Str(b.Person).Num(uint64(on / dayMillis))
	day, _ := days.Get(tx, dayKey)
	day.Minutes += b.Minutes
	if day.Minutes > p.EarnDayMinutes {
		return Moved{}, machine.Refuse("day_limit", "That makes %s on one day; the circle's limit is %s.",
			Coins(day.Minutes), Coins(p.EarnDayMinutes))
	}
	days.Put(tx, dayKey, day)
	a, err := Move(tx, Movement{
		Op: ledger.OpPost, ID: tx.Fresh(), From: Issuance, To: b.Person, Minutes: b.Minutes, On: on,
		Act: Act{Reason: ReasonEarn, Activity: b.Activity, Place: b.Place, By: tx.Caller().Actor},
	})
	if err != nil {
		return Moved{}, err
	}
	tx.Emit(machine.Event{
		Kind: "coin.earned", Audience: []string{machine.AudienceCircle}, Subject: b.Person,
		Minutes: b.Minutes, Words: b.Activity,
	})
	wish, _ := wishes.Get(tx, machine.Key{}.Str(b.Person))
	if wish.AutoGift != "" && p.AutoGift {
		// A standing gift that cannot be made, say to a stopped account, must not undo the work recorded.
		_, err := tx.Run("coin.give", Give{From: b.Person, To: wish.AutoGift, Minutes: b.Minutes})
		if err != nil {
			tx.Emit(machine.Event{
				Kind: "coin.autogift-failed", Audience: []string{b.Person}, Subject: b.Person,
				Minutes: b.Minutes, Words: machine.AsError(err).Message,
			})
		}
	}
	return moved(tx, a, b.Person), nil
}

func moved(tx *machine.Tx, a Act, account string) Moved {
	acc, _ := Store(tx).Account(Book, account)
	return Moved{Transfer: a.Transfer, Seq: a.Seq, Balance: acc.Posted}
}

func pay(tx *machine.Tx, b Pay) (Moved, error) {
	from := tx.Caller().Person()
	if from == b.To {
		return Moved{}, machine.Refuse("to_self",
			"You cannot thank yourself with coins. Choose who helped you.")
	}
	if _, err := member.Known(tx, b.To); err != nil {
		return Moved{}, err
	}
	if err := OpenPerson(tx, from); err != nil {
		return Moved{}, err
	}
	if err := openKnown(tx, b.To); err != nil {
		return Moved{}, err
	}
	b.Note.Of = from
	a, err := Move(tx, Movement{
		Op: ledger.OpPost, ID: tx.Fresh(), From: from, To: b.To, Minutes: b.Minutes,
		Act: Act{
			Reason: ReasonPay, Activity: b.Activity, Place: b.Place, Note: b.Note, By: tx.Caller().Actor,
		},
	})
	if err != nil {
		return Moved{}, err
	}
	tx.Emit(machine.Event{
		Kind: "coin.paid", Audience: []string{from, b.To}, Subject: from, Object: b.To,
		Minutes: b.Minutes, Words: b.Activity,
	})
	return moved(tx, a, from), nil
}

func give(tx *machine.Tx, b Give) (Moved, error) {
	from, reason := tx.Caller().Person(), ReasonGift
	switch {
	case from == machine.ActorCircle:
		from, reason = b.From, ReasonAutoGift
	case b.From != "" && b.From != from:
		return Moved{}, machine.Refuse("not_allowed", "You can give your own coins only.")
	}
	if from == b.To {
		return Moved{}, machine.Refuse("to_self", "You cannot give coins to yourself. Choose somebody else.")
	}
	if err := receiver(tx, b.To); err != nil {
		return Moved{}, err
	}
	if err := OpenPerson(tx, from); err != nil {
		return Moved{}, err
	}
	b.Note.Of = from
	m := Movement{
		Op: ledger.OpPost, ID: tx.Fresh(), From: from, To: b.To, Minutes: b.Minutes,
		Act: Act{Reason: reason, Note: b.Note, By: tx.Caller().Actor, Travels: true},
	}
	if b.Picture != nil {
		m.Picture, m.Act.Alt = b.Picture.private(from), b.Picture.Alt
	}
	a, err := Move(tx, m)
	if err != nil {
		return Moved{}, err
	}
	audience := []string{from, b.To}
	if kindOf(b.To) != KindPerson {
		audience = []string{machine.AudienceCircle}
	}
	tx.Emit(machine.Event{
		Kind: "coin.given", Audience: audience, Subject: from, Object: b.To, Minutes: b.Minutes,
	})
	return moved(tx, a, from), nil
}

// receiver checks that a gift can go there, and opens a member's account for it.
func receiver(tx *machine.Tx, to string) error {
	switch kindOf(to) {
	case KindPerson:
		return OpenPerson(tx, to)
	case KindPool:
		_, err := PolicyOf(tx)
		return err
	case KindPlace:
		if !places.Has(tx, machine.Key{}.Str(to)) {
			return machine.Refuse("place_unknown", "There is no place %.60q in this circle.",
				strings.TrimPrefix(to, PlacePrefix))
		}
		return nil
	default:
		return machine.Refuse("person_unknown",
			"%.60q cannot be given coins. Choose a member, a place or the pool.", to)
	}
}

func welcome(tx *machine.Tx, b Welcome) (Moved, error) {
	p, err := PolicyOf(tx)
	if err != nil {
		return Moved{}, err
	}
	if err := OpenPerson(tx, b.Person); err != nil {
		return Moved{}, err
	}
	key := machine.Key{}.Str(b.Person)
	wish, _ := wishes.Get(tx, key)
	if wish.Welcomed != 0 {
		return Moved{}, machine.Refuse("already_welcomed", "This person had the welcome gift before.")
	}
	if p.WelcomeMinutes == 0 {
		return Moved{}, machine.Refuse("no_welcome", "The circle's policy has no welcome gift.")
	}
	wish.Welcomed = tx.Now()
	wishes.Put(tx, key, wish)
	a, err := Move(tx, Movement{
		Op: ledger.OpPost, ID: tx.Fresh(), From: Pool, To: b.Person, Minutes: p.WelcomeMinutes,
		Act: Act{Reason: ReasonWelcome, By: tx.Caller().Actor},
	})
	if err != nil {
		return Moved{}, err
	}
	tx.Emit(machine.Event{
		Kind: "coin.welcomed", Audience: []string{machine.AudienceCircle},
		Subject: b.Person, Minutes: p.WelcomeMinutes,
	})
	return moved(tx, a, b.Person), nil
}

func autoGift(tx *machine.Tx, b AutoGift) (machine.None, error) {
	if b.To != "" {
		p, err := PolicyOf(tx)
		if err != nil {
			return machine.None{}, err
		}
		if !p.AutoGift {
			return machine.None{}, machine.Refuse("no_autogift",
				"The circle's policy has no automatic gifts.")
		}
		if kindOf(b.To) == KindPerson {
			return machine.None{}, machine.Refuse("bad_autogift",
				"Automatic gifts go to the pool or a place.")
		}
		if err := receiver(tx, b.To); err != nil {
			return machine.None{}, err
		}
	}
	key := machine.Key{}.Str(tx.Caller().Person())
	wish, _ := wishes.Get(tx, key)
	wish.AutoGift = b.To
	wishes.Put(tx, key, wish)
	return machine.None{}, nil
}

func freeze(tx *machine.Tx, b Freeze) (machine.None, error) {
	a, ok := Store(tx).Account(Book, b.Account)
	if strings.ContainsRune(b.Account, 0) || !ok {
		return machine.None{}, machine.Refuse("account_unknown", "There is no coin account %.60q.", b.Account)
	}
	spec := a.Spec()
	spec.State = ledger.StateOpen
	kind := "coin.unfrozen"
	if b.Frozen {
		spec.State, kind = ledger.StateFrozen, "coin.frozen"
	}
	if a.State == spec.State {
		return machine.None{}, machine.Refuse("no_change", "The account is %s already.", a.State)
	}
	if !b.Why.IsSealed() {
		b.Why.Of = personOr(tx, b.Account)
	}
	stops.Put(tx, machine.Key{}.Str(b.Account), b.Why)
	tx.Emit(machine.Event{Kind: kind, Audience: []string{b.Account}, Subject: b.Account})
	return machine.None{}, ledger.Amend(Store(tx), tx.Now(), spec)
}

// forgetEarned takes work undone off the day it was done on, so that it can be entered rightly.
func forgetEarned(tx *machine.Tx, act Act) {
	entry, _ := Store(tx).Entry(act.Seq)
	key := machine.Key{}.Str(act.To).Num(uint64(entry.Effective() / dayMillis))
	day, _ := days.Get(tx, key)
	day.Minutes = max(day.Minutes-act.Minutes, 0)
	days.Put(tx, key, day)
}

func reverse(tx *machine.Tx, b Reverse) (Moved, error) {
	act, imported, ok := findAct(tx, b.Transfer)
	if !ok {
		return Moved{}, machine.Refuse("act_unknown", "There is no such act to undo.")
	}
	switch act.Reason {
	case ReasonKept:
		return Moved{}, machine.Refuse("not_reversible", "These coins are this person's, and nobody else's.")
	case ReasonAbroad, ReasonSetOff:
		return Moved{}, machine.Refuse("not_reversible",
			"Coins to or from another circle cannot be undone here alone. Send them back instead.")
	}
	id := tx.Fresh()
	receipts, err := ledger.Apply(Store(tx), tx.Now(), []ledger.Transfer{{
		ID: ledger.ID(id), Op: ledger.OpReverse, Book: Book, Of: ledger.ID(b.Transfer), Reason: ReasonReverse,
	}})
	if err != nil {
		return Moved{}, inWords(tx, err, Movement{From: act.To, To: act.From, Minutes: act.Minutes})
	}
	undo := Act{
		Transfer: id, Seq: receipts[0].Seq, Reason: ReasonReverse, From: act.To, To: act.From,
		Minutes: act.Minutes, By: tx.Caller().Actor, At: tx.Now(),
		Note: b.Why, // for the two sides only: an activity shows in journeys
	}
	if !undo.Note.IsSealed() {
		undo.Note.Of = act.To
	}
	acts.Put(tx, machine.Key{}.Bytes(id[:]), undo)
	if act.Reason == ReasonEarn && !imported { // what is imported counts for no day
		forgetEarned(tx, act)
	}
	tx.Emit(machine.Event{
		Kind: "coin.reversed", Audience: []string{act.From, act.To}, Subject: act.To, Object: act.From,
		Minutes: act.Minutes,
	})
	return moved(tx, undo, act.To), nil
}
