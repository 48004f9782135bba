package ledger

import (
	"math/big"
	"unicode/utf8"
)

// model is the books told a second time, as naively as can be: it keeps only what happened, in order, and
// works out every answer by going through all of it again.
type model struct {
	events []event
}

// event is something that happened: either spec or transfer.
type event struct {
	spec     *AccountSpec
	opened   bool // spec: an opening, not an amendment
	transfer Transfer
}

type place struct{ book, id string }

// balances is what an account has after the first n events.
type balances struct{ posted, heldOut, heldIn int64 }

// terms are the newest terms of an account, or nil.
func (m *model) terms(at place) *AccountSpec {
	var newest *AccountSpec
	for _, e := range m.events {
		if e.spec != nil && (place{e.spec.Book, e.spec.ID}) == at {
			newest = e.spec
		}
	}
	return newest
}

func (m *model) find(id ID) *Transfer {
	for i, e := range m.events {
		if e.spec == nil && e.transfer.ID == id {
			return &m.events[i].transfer
		}
	}
	return nil
}

// ender is what settled, voided or reversed a transfer within the first n events, or nil.
func (m *model) ender(id ID, n int) *Transfer {
	for i, e := range m.events[:n] {
		if e.spec == nil && e.transfer.Of == id && !id.IsZero() {
			return &m.events[i].transfer
		}
	}
	return nil
}

// moved is what a transfer moved of an account.
func (m *model) moved(t Transfer, account string) int64 {
	switch {
	case t.Op == OpReverse:
		return -m.moved(*m.find(t.Of), account)
	case t.Op == OpSettle && len(t.Legs) == 0:
		return total(m.find(t.Of).Legs, account)
	case t.Op == OpPost || t.Op == OpSettle:
		return total(t.Legs, account)
	}
	return 0
}

func total(legs []Leg, account string) int64 {
	sum := int64(0)
	for _, leg := range legs {
		if leg.Account == account {
			sum += leg.Change
		}
	}
	return sum
}

func (m *model) balancesAfter(n int, at place) balances {
	var b balances
	for _, e := range m.events[:n] {
		if e.spec != nil || e.transfer.Book != at.book {
			continue
		}
		b.posted += m.moved(e.transfer, at.id)
		if e.transfer.Op != OpHold || m.ender(e.transfer.ID, n) != nil {
			continue
		}
		if held := total(e.transfer.Legs, at.id); held < 0 {
			b.heldOut -= held
		} else {
			b.heldIn += held
		}
	}
	return b
}

// verdict is what the model expects: no code is yes.
type verdict struct {
	code     Code
	index    int
	account  string
	repeated bool
}

func (m *model) openOrAmend(opening bool, spec AccountSpec) (code Code, changes bool) {
	at := place{spec.Book, spec.ID}
	now := m.terms(at)
	switch {
	case spec.Floor > spec.Ceiling || spec.Floor < -Unlimited || spec.Ceiling > Unlimited:
		return CodeBadLimits, false
	case spec.State < 1 || spec.State > 3 || opening && spec.State == StateClosed:
		return CodeBadState, false
	case opening && now != nil:
		for _, e := range m.events {
			if e.opened && (place{e.spec.Book, e.spec.ID}) == at && *e.spec == spec {
				return "", false
			}
		}
		return CodeAccountExists, false
	case !opening && now == nil:
		return CodeAccountUnknown, false
	case !opening && now.Kind != spec.Kind:
		return CodeKindFixed, false
	case !opening && *now == spec:
		return "", false
	case spec.State == StateClosed && m.balancesAfter(len(m.events), at) != (balances{}):
		return CodeBalanceNotZero, false
	}
	m.events = append(m.events, event{spec: &spec, opened: opening})
	return "", true
}

func (m *model) apply(group []Transfer) verdict {
	if len(group) == 0 {
		return verdict{code: CodeGroupEmpty, index: -1}
	}
	for i, t := range group {
		if code, account := shape(t); code != "" {
			return verdict{code: code, index: i, account: account}
		}
	}
	for i, t := range group {
		known := m.find(t.ID)
		if known != nil && !same(*known, t) {
			return verdict{code: CodeIDReused, index: i}
		}
		if (known == nil) != (m.find(group[0].ID) == nil) {
			return verdict{code: CodeGroupMixed, index: i}
		}
	}
	if m.find(group[0].ID) != nil {
		return verdict{repeated: true}
	}
	before := len(m.events)
	for i, t := range group {
		code, account := m.judge(t)
		if code != "" {
			m.events = m.events[:before]
			return verdict{code: code, index: i, account: account}
		}
		m.events = append(m.events, event{transfer: t})
	}
	return verdict{}
}

func same(a, b Transfer) bool {
	if len(a.Legs) != len(b.Legs) {
		return false
	}
	for i := range a.Legs {
		if a.Legs[i] != b.Legs[i] {
			return false
		}
	}
	return a.ID == b.ID && a.Op == b.Op && a.Book == b.Book && a.Of == b.Of && a.Effective == b.Effective &&
		a.Reason == b.Reason && a.Ref == b.Ref
}

// shape is what is wrong with a transfer whatever the books hold.
func shape(t Transfer) (Code, string) {
	fresh := t.Op == OpPost || t.Op == OpHold
	ending := t.Op == OpVoid || t.Op == OpReverse
	switch {
	case t.ID == ID{}:
		return CodeIDMissing, ""
	case !fresh && !ending && t.Op != OpSettle:
		return CodeOpUnknown, ""
	case t.Book == "":
		return CodeBadName, ""
	case len(t.Ref) > 256 || !utf8.ValidString(t.Ref):
		return CodeBadRef, ""
	case t.Effective < 0:
		return CodeBadTime, ""
	case fresh && t.Of != ID{}:
		return CodeLinkUnwanted, ""
	case fresh && len(t.Legs) == 0:
		return CodeLegsMissing, ""
	case ending && len(t.Legs) != 0:
		return CodeLegsUnwanted, ""
	}
	in, out := new(big.Int), new(big.Int)
	seen := map[string]bool{}
	for _, leg := range t.Legs {
		switch {
		case leg.Account == "":
			return CodeBadName, ""
		case leg.Change == 0:
			return CodeAmountZero, leg.Account
		case seen[leg.Account]:
			return CodeSameAccount, leg.Account
		case leg.Change > 0:
			in.Add(in, big.NewInt(leg.Change))
		default:
			out.Sub(out, big.NewInt(leg.Change))
		}
		seen[leg.Account] = true
		if in.Cmp(big.NewInt(Unlimited)) >= 0 || out.Cmp(big.NewInt(Unlimited)) >= 0 {
			return CodeOverflow, leg.Account
		}
	}
	if in.Cmp(out) != 0 {
		return CodeUnbalanced, ""
	}
	return "", ""
}

// judge is what the books as they are say to a well-shaped transfer.
func (m *model) judge(t Transfer) (Code, string) {
	if m.find(t.ID) != nil {
		return CodeIDReused, ""
	}
	of := m.find(t.Of)
	switch t.Op {
	case OpPost, OpHold:
		return m.room(t.Book, t.Legs, 1)
	case OpReverse:
		switch {
		case of == nil:
			return CodeTransferUnknown, ""
		case of.Op == OpHold || of.Op == OpVoid || of.Op == OpReverse:
			return CodeNotReversible, ""
		case m.ender(t.Of, len(m.events)) != nil:
			return CodeAlreadyReversed, ""
		case of.Book != t.Book:
			return CodeWrongBook, ""
		case len(of.Legs) == 0:
			return m.room(t.Book, m.find(of.Of).Legs, -1)
		}
		return m.room(t.Book, of.Legs, -1)
	default:
	}
	switch {
	case of == nil || of.Op != OpHold:
		return CodeHoldUnknown, ""
	case of.Book != t.Book:
		return CodeWrongBook, ""
	case m.ender(t.Of, len(m.events)) != nil:
		return CodeHoldEnded, ""
	}
	for _, leg := range t.Legs {
		held := total(of.Legs, leg.Account)
		if leg.Change > 0 && leg.Change > held || leg.Change < 0 && leg.Change < held {
			return CodeExceedsHold, leg.Account
		}
	}
	return "", ""
}

// room looks whether legs, times sign, are within each account's limits with all holds settled.
func (m *model) room(book string, legs []Leg, sign int64) (Code, string) {
	for _, leg := range legs {
		terms := m.terms(place{book, leg.Account})
		if terms == nil {
			return CodeAccountUnknown, leg.Account
		}
		b := m.balancesAfter(len(m.events), place{book, leg.Account})
		change := leg.Change * sign
		switch {
		case terms.State == StateFrozen:
			return CodeAccountFrozen, leg.Account
		case terms.State == StateClosed:
			return CodeAccountClosed, leg.Account
		case change < 0 && b.posted-b.heldOut+change < terms.Floor:
			return CodeFloorPassed, leg.Account
		case change > 0 && b.posted+b.heldIn+change > terms.Ceiling:
			return CodeCeilingPassed, leg.Account
		}
	}
	return "", ""
}
