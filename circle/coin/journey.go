package coin

import (
	"iter"
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/ledger"
)

// MaxLotsShown bounds the lots of one answer; MaxStepsShown the steps of one lot, oldest first.
const (
	MaxLotsShown  = 50
	MaxStepsShown = 40
)

// Step is one act in the life of a coin.
type Step struct {
	Seq      uint64     `json:"seq"`
	At       int64      `json:"at"`
	Transfer machine.ID `json:"transfer"`
	Reason   string     `json:"reason"`
	Activity string     `json:"activity,omitempty"`
	Place    string     `json:"place,omitempty"`
	Who      string     `json:"who,omitempty"` // only people who agreed to be named
	To       string     `json:"to,omitempty"`  // where the coins went
	Kind     string     `json:"kind"`          // of account they went to
	Note     string     `json:"note,omitempty"`
	Picture  bool       `json:"picture,omitempty"`
	Alt      string     `json:"alt,omitempty"`
}

// Lot is coins that share one way.
type Lot struct {
	Minutes int64  `json:"minutes"`
	Steps   []Step `json:"steps"` // oldest first
}

// Journey is the way of the coins a person holds, and of those they passed on.
type Journey struct {
	Held   []Lot `json:"held"`
	Passed []Lot `json:"passed"` // where they are now, or left the circle
}

// The fold below walks the book once, oldest entry first, and keeps for every account the queue of coins it
// holds: first in, first out. Where coins arrive together, those that carry a picture or poem queue first, so
// that stories travel. Coins from the circle's issuance, from another circle, or spent before they were
// earned begin a way of their own.

type node struct {
	parent int // index; -1: the beginning
	seq    uint64
	holder string // the account it went to
	story  bool   // a picture or poem on the way
}

type lot struct {
	minutes int64
	node    int
}

type queue struct {
	account string
	lots    []lot
	owed    int64 // spent before earned
}

type fold struct {
	nodes  []node
	queues []queue // by account
	gone   []lot   // left for another circle
}

func (f *fold) queue(account string) *queue {
	byName := func(q queue, account string) int { return strings.Compare(q.account, account) }
	i, ok := slices.BinarySearchFunc(f.queues, account, byName)
	if !ok {
		f.queues = slices.Insert(f.queues, i, queue{account: account})
	}
	return &f.queues[i]
}

// take removes minutes from the front of an account's queue.
func (f *fold) take(account string, minutes int64) []lot {
	begin := lot{minutes: minutes, node: -1}
	if kind := kindOf(account); kind == KindIssuance || kind == KindCircle {
		return []lot{begin}
	}
	q := f.queue(account)
	var out []lot
	for minutes > 0 && len(q.lots) > 0 {
		part := lot{minutes: min(minutes, q.lots[0].minutes), node: q.lots[0].node}
		minutes -= part.minutes
		q.lots[0].minutes -= part.minutes
		if q.lots[0].minutes == 0 {
			q.lots = q.lots[1:]
		}
		out = append(out, part)
	}
	if minutes > 0 {
		q.owed += minutes
		out = append(out, lot{minutes: minutes, node: -1})
	}
	return out
}

func (f *fold) storied(l lot) bool { return l.node >= 0 && f.nodes[l.node].story }

// move passes minutes from one account on to another at an entry.
func (f *fold) move(from, to string, minutes int64, seq uint64, story bool) {
	lots := f.take(from, minutes)
	slices.SortStableFunc(lots, func(a, b lot) int {
		switch {
		case f.storied(a) == f.storied(b):
			return 0
		case f.storied(a):
			return -1
		default:
			return 1
		}
	})
	switch kindOf(to) {
	case KindIssuance: // work undone: these coins are no more
		return
	case KindCircle:
		for _, l := range lots {
			f.gone = append(f.gone, f.extend(l, to, seq, story))
		}
		return
	}
	q := f.queue(to)
	for _, l := range lots {
		l = f.extend(l, to, seq, story)
		repaid := min(q.owed, l.minutes)
		q.owed -= repaid
		l.minutes -= repaid
		if l.minutes > 0 {
			q.lots = append(q.lots, l)
		}
	}
}

func (f *fold) extend(l lot, to string, seq uint64, story bool) lot {
	f.nodes = append(f.nodes, node{parent: l.node, seq: seq, holder: to, story: story || f.storied(l)})
	return lot{minutes: l.minutes, node: len(f.nodes) - 1}
}

// Entries walks the book's entries from one on, oldest first.
func Entries(r machine.Reader, from uint64) iter.Seq[ledger.Entry] {
	return func(yield func(ledger.Entry) bool) {
		books := ReadBooks(r)
		paged := func(until uint64) bool { // those on pages come between those with a row of their own
			for ; from < until; from++ {
				if p, ok := books.page(from); ok && !yield(p.Entry(from)) {
					return false
				}
			}
			return true
		}
		for _, e := range entries.All(r, nil, machine.Key{}.Num(from)) {
			if !paged(e.Seq) || !yield(e) {
				return
			}
			from = e.Seq + 1
		}
		paged(books.Head() + 1)
	}
}

// LegsOf returns what a transfer posted: nothing for a hold or a void.
func LegsOf(b Books, t *ledger.Transfer) []ledger.Leg {
	switch t.Op {
	case ledger.OpPost:
		return t.Legs
	case ledger.OpSettle, ledger.OpReverse:
		if len(t.Legs) > 0 {
			return t.Legs
		}
		record, _ := b.Record(t.Of)
		original, _ := b.Entry(record.Seq)
		legs := slices.Clone(original.Transfer.Legs)
		if original.Op == ledger.OpSettle {
			legs = slices.Clone(LegsOf(b, original.Transfer))
		}
		if t.Op == ledger.OpReverse {
			for i := range legs {
				legs[i].Change = -legs[i].Change
			}
		}
		return legs
	default:
		return nil
	}
}

func foldBook(r machine.Reader) *fold {
	f, b := &fold{}, ReadBooks(r)
	for e := range Entries(r, 1) {
		if e.Transfer == nil || e.Transfer.Book != Book {
			continue
		}
		act, _ := actOf(r, e.Transfer)
		story := act.Travels && (act.Picture || len(act.Note.Data) > 0)
		var out, in []ledger.Leg
		for _, leg := range LegsOf(b, e.Transfer) {
			if leg.Change < 0 {
				out = append(out, leg)
			} else {
				in = append(in, leg)
			}
		}
		for len(out) > 0 && len(in) > 0 { // several legs: in the order they stand
			minutes := min(-out[0].Change, in[0].Change)
			f.move(out[0].Account, in[0].Account, minutes, e.Seq, story)
			if out[0].Change += minutes; out[0].Change == 0 {
				out = out[1:]
			}
			if in[0].Change -= minutes; in[0].Change == 0 {
				in = in[1:]
			}
		}
	}
	return f
}

func journey(rd machine.Read, _ machine.None) (Journey, error) {
	f := foldBook(rd)
	me := rd.Person()
	out := Journey{Held: []Lot{}, Passed: []Lot{}}
	for _, l := range f.queue(me).lots {
		out.Held = f.show(rd, out.Held, l)
	}
	passed := func(l lot) bool {
		for n := f.nodes[l.node].parent; n >= 0; n = f.nodes[n].parent {
			if f.nodes[n].holder == me {
				return true
			}
		}
		return false
	}
	elsewhere := slices.Clone(f.gone)
	for _, q := range f.queues {
		if q.account != me {
			elsewhere = append(elsewhere, q.lots...)
		}
	}
	for _, l := range elsewhere {
		if passed(l) {
			out.Passed = f.show(rd, out.Passed, l)
		}
	}
	return out, nil
}

// show adds a lot's way to a list; coins with the very same way are shown as one lot.
func (f *fold) show(rd machine.Read, lots []Lot, l lot) []Lot {
	var steps []Step
	for n := l.node; n >= 0; n = f.nodes[n].parent {
		steps = append(steps, step(rd, f.nodes[n]))
	}
	slices.Reverse(steps)
	steps = steps[:min(len(steps), MaxStepsShown)]
	for i := range lots {
		if slices.Equal(lots[i].Steps, steps) {
			lots[i].Minutes += l.minutes
			return lots
		}
	}
	if len(lots) == MaxLotsShown {
		return lots
	}
	return append(lots, Lot{Minutes: l.minutes, Steps: steps})
}

func step(rd machine.Read, n node) Step {
	e, _ := ReadBooks(rd).Entry(n.seq)
	act, _ := actOf(rd, e.Transfer)
	s := Step{
		Seq: n.seq, At: e.Effective(), Transfer: act.Transfer, Reason: act.Reason, Activity: act.Activity,
		Place: act.Place, Kind: kindOf(n.holder), To: agreed(rd, n.holder),
	}
	giver := act.From
	if act.Reason == ReasonEarn {
		giver = act.To
	}
	s.Who = agreed(rd, giver)
	if act.Travels {
		s.Note, s.Picture, s.Alt = said(rd, act, act.Note), act.Picture, said(rd, act, act.Alt)
	}
	return s
}

// agreed names an account in a journey: a person only if they agreed to be named there, or are the reader.
func agreed(rd machine.Read, account string) string {
	if kindOf(account) != KindPerson {
		return NameOf(rd, account)
	}
	if account == rd.Person() {
		return "you"
	}
	if p, ok := member.Find(rd, account); ok && p.Journey {
		return rd.Text(p.Name)
	}
	return ""
}
