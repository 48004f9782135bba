package ledger

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"

	"pgregory.net/rapid"
)

var (
	bookNames    = []string{"coins", "pounds"}
	accountNames = []string{"ann", "ben", "pool", "cat", "nobody"}
)

// drawSpec mostly leaves the limits sensible, for accounts that mostly exist. It never opens nobody.
func (m *machine) drawSpec() AccountSpec {
	spec := AccountSpec{
		Book:    pick(m, []string{"coins", "coins", "pounds"}),
		ID:      pick(m, accountNames[:4]),
		Kind:    pick(m, []string{"person", "person", "person", "commons"}),
		Floor:   pick(m, []int64{-300, -300, 0, 50, -Unlimited}),
		Ceiling: pick(m, []int64{500, 500, 60, Unlimited}),
		State:   pick(m, []State{StateOpen, StateOpen, StateOpen, StateOpen, StateFrozen, StateClosed}),
	}
	switch m.chance(20) {
	case 1:
		spec.Floor = math.MinInt64
	case 2:
		spec.Ceiling = Unlimited + 1
	case 3:
		spec.State = State(m.chance(255))
	}
	return spec
}

// stir makes the next chances depend on a draw and on the time. They are not draws themselves, because
// rapid prefers small numbers and would send mostly the first few of every list.
func (m *machine) stir(t *rapid.T) {
	m.rand = rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), uint64(m.at)))
}

// chance is one of 0 to n, each as likely as the others.
func (m *machine) chance(n int) int { return m.rand.IntN(n + 1) }

// pick is one of list, each as likely as the others.
func pick[V any](m *machine, list []V) V { return list[m.chance(len(list)-1)] }

func (m *machine) drawGroup() []Transfer {
	var group []Transfer
	for i := range pick(m, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 8, 0}) {
		group = append(group, m.drawTransfer(i))
	}
	return group
}

// drawTransfer mostly draws something well shaped; i tells the transfers of a group apart.
func (m *machine) drawTransfer(i int) Transfer {
	tr := Transfer{
		ID:   m.drawID(i),
		Op:   pick(m, []Op{OpPost, OpHold, OpHold, OpSettle, OpVoid, OpReverse}),
		Book: pick(m, []string{"coins", "coins", "coins", "coins", "pounds"}),
	}
	switch tr.Op {
	case OpPost, OpHold:
		tr.Legs = m.drawLegs()
	default:
		of := m.drawOf(tr.Op)
		if of.Book == "" && m.chance(4) > 0 { // there is nothing yet to end
			tr.Op, tr.Legs = OpHold, m.drawLegs()
			break
		}
		tr.Of = of.ID
		if of.Book != "" && m.chance(20) != 1 {
			tr.Book = of.Book
		}
		if tr.Op == OpSettle && m.chance(1) == 1 {
			tr.Legs = m.drawPart(of.Legs)
		}
	}
	switch m.chance(60) {
	case 1:
		tr.Op = Op(m.chance(255))
	case 2:
		tr.ID = ID{}
	case 3:
		tr.Effective = int64(m.rand.Uint64()) % MaxTime
	case 4:
		tr.Ref = "\xff"
	case 5:
		tr.Of = m.drawOf(OpPost).ID
	case 6:
		tr.Book = ""
	case 7:
		tr.Legs = nil
	case 8:
		tr.Legs = m.drawLegs()
	}
	return tr
}

// drawID is a new id, or now and then a used one.
func (m *machine) drawID(i int) ID {
	if len(m.groups) > 0 && m.chance(20) == 1 {
		return pick(m, m.groups)[0].ID
	}
	var id ID
	binary.BigEndian.PutUint64(id[:], uint64(m.at)+1)
	id[15] = byte(pick(m, []int{i, i, i, i, i, i, i, 0})) + 1
	return id
}

// drawOf is a transfer to end: mostly of the right sort, mostly not ended, now and then one there never was.
func (m *machine) drawOf(op Op) Transfer {
	var fit, all []Transfer
	for _, e := range m.model.events {
		if e.spec != nil {
			continue
		}
		all = append(all, e.transfer)
		right := e.transfer.Op == OpHold
		if op == OpReverse {
			right = e.transfer.Op == OpPost || e.transfer.Op == OpSettle
		}
		if right && m.model.ender(e.transfer.ID, len(m.model.events)) == nil {
			fit = append(fit, e.transfer)
		}
	}
	choice := m.chance(19)
	if len(fit) > 0 && choice > 3 {
		return pick(m, fit)
	}
	if len(all) > 0 && choice < 3 {
		return pick(m, all)
	}
	return Transfer{ID: ID{1, 2, 3}}
}

// drawLegs mostly draws two or three accounts and a sum of zero.
func (m *machine) drawLegs() []Leg {
	names := slices.Clone(accountNames[:4])
	if m.chance(5) > 0 {
		names = names[:3]
	}
	for i := range names {
		j := i + m.chance(len(names)-i-1)
		names[i], names[j] = names[j], names[i]
	}
	amount := int64(m.chance(119)) + 1
	legs := []Leg{{names[0], -amount}, {names[1], amount}}
	if more := int64(m.chance(180)) - 60; more > 0 {
		legs[1].Change += more
		legs = append(legs, Leg{names[2], -more})
	}
	switch m.chance(40) {
	case 1:
		legs[0].Account = legs[1].Account
	case 2:
		legs[0].Change = 0
	case 3:
		legs[0].Change--
	case 4:
		legs[1].Account = "nobody"
	case 5:
		legs[0].Change = int64(m.rand.Uint64())
	case 6:
		legs[0].Change = pick(m, []int64{math.MinInt64, -Unlimited, Unlimited})
	case 7: // vast, but in balance
		legs = []Leg{{names[0], -Unlimited / 2}, {names[1], Unlimited / 2}}
	case 8: // as much as there may be, in two legs
		legs = []Leg{{names[0], 1 - Unlimited}, {names[1], Unlimited - 2}, {names[2], 1}}
	}
	return legs
}

// drawPart takes some of the first two legs, mostly in balance.
func (m *machine) drawPart(held []Leg) []Leg {
	if len(held) < 2 {
		return m.drawLegs()
	}
	most := min(held[0].out(), held[1].in())
	amount := int64(m.chance(int(min(most+1, 200)))) + 1
	part := []Leg{{held[0].Account, -amount}, {held[1].Account, amount}}
	switch m.chance(9) {
	case 1:
		part[0].Change, part[1].Change = amount, -amount
	case 2:
		part[1].Account = "nobody"
	}
	return part
}
