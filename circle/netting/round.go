package netting

import (
	"cmp"
	"errors"
	"slices"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/ledger"
)

func consent(tx *machine.Tx, b Consent) (machine.None, error) {
	settings.Put(tx, machine.Key{}, setting(b))
	return machine.None{}, nil
}

// put keeps a round at a stage.
func put(tx *machine.Tx, r round, stage Stage, why string) {
	r.Stage, r.Why, r.At = stage, why, tx.Now()
	rounds.Put(tx, roundKey(r.Number), r)
	if !stage.over() {
		currents.Put(tx, machine.Key{}, r.Number)
	}
	tx.Emit(machine.Event{
		Kind: "netting." + stage.String(), Audience: []string{machine.AudienceCircle}, Words: why,
	})
}

// hubOf is the hub that the circle listens to: of the round without an outcome, or else the one it has named.
func hubOf(r machine.Reader) (letter.CircleID, bool) {
	if now, ok := Current(r); ok {
		return now.Hub, true
	}
	return exchange.Hub(r)
}

// fromHub wants the caller to be this circle's hub, and returns its key.
func fromHub(tx *machine.Tx) (letter.CircleID, []byte, error) {
	caller, _ := tx.Caller().Peer()
	id, ok := hubOf(tx)
	if !ok || string(id) != caller {
		return "", nil, machine.Refuse("no_hub", "Rounds come from the hub that this circle has named.")
	}
	key, _ := exchange.KeyOf(tx, id)
	return id, key, nil
}

func (f feature) openPaper(tx *machine.Tx, s letter.Signed) (clearing.Paper, error) {
	hub, key, err := fromHub(tx)
	if err != nil {
		return clearing.Paper{}, err
	}
	p, err := clearing.OpenPaper(f.Verify, key, s)
	if err != nil || p.Hub != hub {
		return p, machine.Refuse("bad_round", "This is no round of our hub: %v.", err)
	}
	return p, nil
}

func (f feature) proposed(tx *machine.Tx, b Proposed) (machine.None, error) {
	p, err := f.openPaper(tx, b.Paper)
	if err != nil {
		return machine.None{}, err
	}
	if _, known := rounds.Get(tx, roundKey(p.Number)); known {
		return machine.None{}, nil // a repeat
	}
	if r, ok := Current(tx); ok {
		return machine.None{}, machine.Refuse("round_open", "There is no outcome of round %d yet.", r.Number)
	}
	r := roundOf(p, b.Paper)
	legs, why := legsOf(tx, p)
	switch when := WhenOf(tx); {
	case why != "":
		put(tx, r, StageDeclined, why)
	case when == WhenNever:
		put(tx, r, StageDeclined, "this circle takes no part")
	case when == WhenAlways && setAside(tx, &r, legs) == nil:
		put(tx, r, StageAgreed, "")
	default:
		put(tx, r, StageWaiting, "")
	}
	return machine.None{}, nil
}

func roundOf(p clearing.Paper, s letter.Signed) round {
	return round{
		Number: p.Number, Paper: s, Hash: clearing.HashOf(s.Bytes), Until: p.Until, Hub: string(p.Hub),
	}
}

// legsOf is what a paper moves between this circle's accounts of others, and why it cannot be if it cannot:
// nothing may be set off that is not owed by our own books.
func legsOf(r machine.Reader, p clearing.Paper) (legs []leg, why string) {
	us, _ := member.TheCircle(r)
	var from, to []leg // circles whose account goes down, and up
	for _, o := range p.Proposal.Changes {
		switch us.ID {
		case o.Debtor:
			from = append(from, leg{From: coin.CirclePrefix + o.Creditor, Minutes: o.Minutes})
		case o.Creditor:
			to = append(to, leg{To: coin.CirclePrefix + o.Debtor, Minutes: o.Minutes})
		}
	}
	if len(from) == 0 {
		return nil, "it is not about this circle"
	}
	for _, l := range append(append([]leg{}, from...), to...) {
		a, ok := coin.ReadBooks(r).Account(coin.Book, cmp.Or(l.From, l.To))
		owed := a.Posted
		if l.From == "" {
			owed = -owed
		}
		if !ok || owed < l.Minutes {
			why = "it sets off more than is owed by our books"
		}
	}
	for len(from) > 0 && len(to) > 0 {
		l := leg{From: from[0].From, To: to[0].To, Minutes: min(from[0].Minutes, to[0].Minutes)}
		legs = append(legs, l)
		if from[0].Minutes -= l.Minutes; from[0].Minutes == 0 {
			from = from[1:]
		}
		if to[0].Minutes -= l.Minutes; to[0].Minutes == 0 {
			to = to[1:]
		}
	}
	return legs, why
}

// setAside holds what a round is to move, all of it or nothing.
func setAside(tx *machine.Tx, r *round, legs []leg) error {
	return tx.Try(func() error {
		for i, l := range legs {
			legs[i].Hold = tx.Fresh()
			_, err := coin.Move(tx, coin.Movement{
				Op: ledger.OpHold, ID: legs[i].Hold, From: l.From, To: l.To, Minutes: l.Minutes,
				Act: coin.Act{Reason: coin.ReasonSetOff},
			})
			if err != nil {
				return err
			}
		}
		r.Aside = legs
		return nil
	})
}

func answered(tx *machine.Tx, b Answer) (machine.None, error) {
	r, ok := rounds.Get(tx, roundKey(b.Number))
	if !ok || r.Stage != StageWaiting {
		return machine.None{}, machine.Refuse("not_waiting", "No round of this number waits for an answer.")
	}
	if !b.Yes {
		put(tx, r, StageDeclined, "by the circle")
		return machine.None{}, nil
	}
	p, err := clearing.DecodePaper(r.Paper.Bytes)
	if err != nil {
		return machine.None{}, err
	}
	legs, why := legsOf(tx, p)
	if why != "" { // meanwhile
		return machine.None{}, machine.Refuse("owed_less", "You cannot agree to this any more: %s.", why)
	}
	if err := setAside(tx, &r, legs); err != nil {
		return machine.None{}, err
	}
	put(tx, r, StageAgreed, "")
	return machine.None{}, nil
}

// decided does what the outcome of a round says: what was put aside moves, or is free again. A circle that
// has forgotten that it agreed is held to its signature.
func (f feature) decided(tx *machine.Tx, b Decided) (machine.None, error) {
	p, err := f.openPaper(tx, b.Paper)
	if err != nil {
		return machine.None{}, err
	}
	_, key, _ := fromHub(tx)
	o, err := clearing.OpenOutcome(f.Verify, key, b.Outcome)
	if err := cmp.Or(err, o.Of(f.Verify, b.Paper.Bytes, p)); err != nil {
		return machine.None{}, machine.Refuse("bad_round", "This is no outcome of that round: %v.", err)
	}
	r, known := rounds.Get(tx, roundKey(p.Number))
	if !known {
		r = roundOf(p, b.Paper)
	}
	stage := StageDropped
	if o.Cleared {
		stage = StageCleared
	}
	switch {
	case r.Stage == stage:
		return machine.None{}, nil // a repeat
	case r.Stage.over() || r.Hash != o.Paper:
		tx.Emit(machine.Event{Kind: "netting.contradicted", Audience: []string{machine.AudienceCircle}})
		return machine.None{}, machine.Refuse("two_outcomes",
			"The hub has said otherwise of this round before.")
	}
	if err := settle(tx, r, p, o.Cleared); err != nil {
		return machine.None{}, machine.Refuse("bad_round", "This outcome cannot be followed: %v.", err)
	}
	r.Outcome = b.Outcome
	put(tx, r, stage, r.Why)
	if o.Cleared {
		cleared.Put(tx, machine.Key{}.Str(r.Hub).Num(r.Number), true)
	}
	if now, _ := currents.Get(tx, machine.Key{}); now == r.Number {
		currents.Delete(tx, machine.Key{})
	}
	return machine.None{}, nil
}

func settle(tx *machine.Tx, r round, p clearing.Paper, cleared bool) error {
	op := ledger.OpVoid
	if cleared {
		op = ledger.OpSettle
	}
	for _, l := range r.Aside {
		if err := coin.Finish(tx, op, tx.Fresh(), l.Hold, coin.ReasonSetOff); err != nil {
			return err
		}
	}
	if !cleared {
		return nil
	}
	if len(r.Aside) == 0 {
		legs, _ := legsOf(tx, p) // whatever the books say now: the others go by our signature
		if len(legs) == 0 {
			return errors.New("it is not about this circle")
		}
		for _, l := range legs {
			_, err := coin.Force(tx, coin.Movement{
				Op: ledger.OpPost, ID: tx.Fresh(), From: l.From, To: l.To, Minutes: l.Minutes,
				Act: coin.Act{Reason: coin.ReasonSetOff},
			})
			if err != nil {
				return err
			}
		}
	}
	us, _ := member.TheCircle(tx)
	for _, o := range p.Proposal.Changes {
		switch us.ID {
		case o.Debtor:
			add(tx, o.Creditor, -o.Minutes)
		case o.Creditor:
			add(tx, o.Debtor, o.Minutes)
		}
	}
	return nil
}

func add(tx *machine.Tx, circle string, minutes int64) {
	setOffs.Put(tx, machine.Key{}.Str(circle), SetOff(tx, circle)+minutes)
}

// newest are the newest numbers under a key, oldest first, as many as a circle and its hub compare.
func newest(r machine.Reader, t machine.Table[bool], under machine.Key) []uint64 {
	var out []uint64
	for key := range t.Latest(r, under, nil) {
		if out = append(out, key.Last()); len(out) == courier.MaxKnownRounds {
			break
		}
	}
	slices.Reverse(out)
	return out
}

// Current is the round that has no outcome here yet.
func Current(r machine.Reader) (Round, bool) {
	number, ok := currents.Get(r, machine.Key{})
	if !ok {
		return Round{}, false
	}
	x, _ := rounds.Get(r, roundKey(number))
	return Round{x.Number, x.Stage, letter.CircleID(x.Hub)}, true
}

// Round is a round at a circle in it.
type Round struct {
	Number uint64
	Stage  Stage
	Hub    letter.CircleID
}
