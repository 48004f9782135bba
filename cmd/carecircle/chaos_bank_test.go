package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/carecircle/carecircle/circle/machine"
)

// How a history is judged.
//
// The circle's log is its last answer: once nothing is under way any more, every replica exports the same
// log, which is a read of the whole history. If the history is linearizable at all, then with the commands in
// the order of that read. So the one model of the whole bank, in which a payment touches two accounts at
// once, has for its state how far the log has been gone, and a command is legal where it is the log's next.
// What the bank holds there is reckoned from the commands alone, by the few rules below and not by the
// program's. A read is legal where the bank held what it saw. This is stronger than each account being
// linearizable by itself, and leaves little to search.
//
// A command without an answer that is in the log took effect at some time after it was asked, perhaps long
// after its client gave up: it never returns. One that is not in the log never took effect, and is left out.

// entry is one command of clients in the circle's log, and what the bank's rules make of it.
type entry struct {
	id       machine.ID
	position uint64
	expected reply
	after    moment
}

// moment is the bank between two commands.
type moment struct {
	entries uint64
	has     bank
}

// judge holds a history against a log.
type judge struct {
	asked map[machine.ID]*deed // commands of all rounds
	read  uint64               // positions of the log that were judged
	now   moment
	days  map[[2]int64]int64 // person, day: minutes earned
	open  [chaosPeople]bool  // accounts: to open one is an entry, too
}

// openAtFirst are the accounts of a new circle: pool and issuance.
const openAtFirst = 2

func newJudge() *judge {
	return &judge{
		asked: map[machine.ID]*deed{}, days: map[[2]int64]int64{}, now: moment{entries: openAtFirst},
	}
}

// follow reads on in an exported log and returns the commands that clients asked for.
func (j *judge) follow(export []byte) ([]entry, error) {
	var all []entry
	lines := bufio.NewScanner(bytes.NewReader(export))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			N     uint64 `json:"n"`
			Entry []byte `json:"entry"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, err
		}
		if line.N <= j.read { // judged before, or the header or the end
			continue
		}
		j.read = line.N
		c, err := machine.DecodeCommand(line.Entry)
		if err != nil {
			return nil, err
		}
		switch c.Kind {
		case "coin.pay", "coin.give", "coin.earn":
			l, err := j.reckon(line.N, c)
			if err != nil {
				return nil, err
			}
			all = append(all, l)
		}
	}
	return all, lines.Err()
}

// reckon does what a command asks for, by the rules of the bank.
func (j *judge) reckon(position uint64, c machine.Command) (entry, error) {
	d := j.asked[c.ID]
	if d == nil {
		return entry{}, fmt.Errorf("position %d of the log: nobody asked for %s %s", position, c.Kind, c.ID)
	}
	l := entry{id: c.ID, position: position}
	day := [2]int64{int64(d.to), c.At / (24 * time.Hour).Milliseconds()}
	switch {
	case d.kind == "coin.earn" && j.days[day]+d.minutes > chaosDayLimit:
		l.expected.refusal = "day_limit"
	case d.kind == "coin.earn":
		j.days[day] += d.minutes
		if !j.open[d.to] { // everyone's is opened by what they earn before all else
			j.now.entries++
			j.open[d.to] = true
		}
		j.now.has[d.to] += d.minutes
		l.expected.balance = j.now.has[d.to]
	case j.now.has[d.from]-d.minutes < chaosFloor:
		l.expected.refusal = "floor_passed"
	default:
		j.now.has[d.from] -= d.minutes
		j.now.has[d.to] += d.minutes
		l.expected.balance = j.now.has[d.from]
	}
	if l.expected.refusal == "" {
		j.now.entries++
		l.expected.position, l.expected.entries = position, j.now.entries
	}
	l.after = j.now
	return l, nil
}

// lostOrDoubled checks what needs no order: every answered command is in the log once, as it was answered.
func lostOrDoubled(deeds []*deed, log []entry) error {
	at := map[machine.ID]entry{}
	for _, l := range log {
		if was, twice := at[l.id]; twice {
			return fmt.Errorf("command %s is in the log at %d and again at %d", l.id, was.position,
				l.position)
		}
		at[l.id] = l
	}
	for _, d := range deeds {
		if d.reads() || !d.answered {
			continue
		}
		l, is := at[d.id]
		switch {
		case !is:
			return fmt.Errorf("%s %s was answered %+v and is not in the log: it is lost", d.kind, d.id,
				d.reply)
		case d.reply != l.expected:
			return fmt.Errorf("%s %s was answered %+v; its place in the log makes it %+v", d.kind, d.id,
				d.reply, l.expected)
		}
	}
	return nil
}

// linearizable has porcupine look for an order of a history, given the log and the bank before it.
func linearizable(before moment, log []entry, deeds []*deed, limit time.Duration) porcupine.CheckResult {
	at := func(gone int) moment {
		if gone == 0 {
			return before
		}
		return log[gone-1].after
	}
	model := porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, input, _ any) (bool, any) {
			gone, d := state.(int), input.(*deed)
			switch {
			case d.kind == viewAll:
				m := at(gone)
				return d.reply.all == m.has && d.reply.entries == m.entries, gone
			case d.kind == viewMine:
				return d.reply.balance == at(gone).has[d.from], gone
			case gone == len(log) || log[gone].id != d.id:
				return false, gone
			default:
				return !d.answered || d.reply == log[gone].expected, gone + 1
			}
		},
		Hash: func(state any) uint64 { return uint64(state.(int)) },
	}
	effective := map[machine.ID]bool{}
	for _, l := range log {
		effective[l.id] = true
	}
	var ops []porcupine.Operation
	for _, d := range deeds {
		op := porcupine.Operation{
			ClientId: d.client, Input: d, Call: int64(d.call), Return: int64(d.back),
		}
		switch {
		case d.answered:
		case d.reads() || !effective[d.id]:
			continue
		default:
			op.Return = math.MaxInt64
		}
		ops = append(ops, op)
	}
	return porcupine.CheckOperationsTimeout(model, ops, limit)
}
