package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/carecircle/carecircle/circle/machine"
)

// story is a history, the log it left behind and the judge of both.
type story struct {
	deeds []*deed
	log   []machine.Command
}

// madeStory makes up what an honest bank answers some clients that ask at the same time: each request takes
// effect at one moment between its call and its answer.
func madeStory(t *testing.T) *story {
	t.Helper()
	s := &story{}
	dice := rand.New(rand.NewPCG(7, 7))
	x := &chaosClient{dice: dice}
	var effects []time.Duration
	for n := range 400 {
		d, err := x.draw()
		if err != nil {
			t.Fatal(err)
		}
		if n < chaosPeople {
			d.kind, d.to, d.minutes = "coin.earn", n, chaosStart
		}
		at := time.Duration(n) * time.Millisecond
		d.client, d.call = n, max(0, at-time.Duration(dice.IntN(9))*time.Millisecond)-1
		d.back, d.answered = at+time.Duration(dice.IntN(9))*time.Millisecond+1, dice.IntN(10) > 0
		s.deeds, effects = append(s.deeds, d), append(effects, at)
	}
	j := newJudge()
	for i, d := range s.deeds {
		switch {
		case d.kind == viewAll:
			d.reply = reply{entries: j.now.entries, all: j.now.has}
		case d.kind == viewMine:
			d.reply = reply{balance: j.now.has[d.from]}
		case i%50 == 49:
			d.answered = false // and nothing came of it
		default:
			c := machine.Command{ID: d.id, Kind: d.kind, At: effects[i].Milliseconds()}
			j.asked[d.id] = d
			l, err := j.reckon(uint64(len(s.log)+1), c)
			if err != nil {
				t.Fatal(err)
			}
			d.reply, s.log = l.expected, append(s.log, c)
		}
	}
	return s
}

// judged returns what is found wrong with a story; empty: nothing.
func (s *story) judged(t *testing.T) (found string) {
	t.Helper()
	j := newJudge()
	for _, d := range s.deeds {
		j.asked[d.id] = d
	}
	before := j.now
	var log []entry
	for i, c := range s.log {
		l, err := j.reckon(uint64(i+1), c)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, l)
	}
	if err := lostOrDoubled(s.deeds, log); err != nil {
		found = err.Error() + "; "
	}
	if v := linearizable(before, log, s.deeds, judgeLimit); v != porcupine.Ok {
		found += "porcupine: " + string(v)
	}
	return found
}

// find returns the place of the first answered deed from a place on that is as wanted.
func (s *story) find(t *testing.T, from int, wanted func(*deed) bool) int {
	t.Helper()
	at := slices.IndexFunc(s.deeds[from:], func(d *deed) bool { return d.answered && wanted(d) })
	if at < 0 {
		t.Fatal("the story has no such deed")
	}
	return from + at
}

// TestDoctoredHistories shows that the judge of TestThreeReplicasSoak finds nothing in an honest history, and
// each of the faults that are put into one.
func TestDoctoredHistories(t *testing.T) {
	if found := madeStory(t).judged(t); found != "" {
		t.Fatalf("an honest history is found wrong: %s", found)
	}
	moved := func(d *deed) bool { return !d.reads() && d.reply.refusal == "" }
	for _, c := range []struct {
		name, want string
		doctor     func(s *story)
	}{
		{"an answered command is lost", "it is lost; porcupine: Illegal", func(s *story) {
			lost := s.deeds[s.find(t, 200, moved)].id
			s.log = slices.DeleteFunc(s.log, func(c machine.Command) bool { return c.ID == lost })
		}},
		{"a command is done twice", "and again at; porcupine: Illegal", func(s *story) {
			twice := s.deeds[s.find(t, 200, moved)].id
			at := slices.IndexFunc(s.log, func(c machine.Command) bool { return c.ID == twice })
			s.log = slices.Insert(s.log, at+5, s.log[at])
		}},
		{"a read of the whole bank is stale", "porcupine: Illegal", func(s *story) {
			old := s.deeds[s.find(t, 100, func(d *deed) bool { return d.kind == viewAll })]
			s.deeds[s.find(t, 300, func(d *deed) bool { return d.kind == viewAll })].reply = old.reply
		}},
		{"a read misses the newest payment alone", "porcupine: Illegal", func(s *story) {
			at := s.find(t, 200, func(d *deed) bool { return moved(d) && d.kind == "coin.pay" })
			paid := s.deeds[at]
			read := *s.deeds[s.find(t, 0, func(d *deed) bool { return d.kind == viewMine })]
			read.from, read.reply.balance = paid.from, paid.reply.balance+paid.minutes
			read.call = paid.back + 1
			read.back = read.call + 1
			s.deeds = append(s.deeds, &read)
		}},
		{"a command takes effect before it is asked", "porcupine: Illegal", func(s *story) {
			d := s.deeds[s.find(t, 200, moved)]
			d.call, d.back = d.back+time.Second, d.back+2*time.Second
		}},
		{"an answer names another balance", "its place in the log; porcupine: Illegal", func(s *story) {
			s.deeds[s.find(t, 200, moved)].reply.balance++
		}},
		{"a payment is made and refused", "its place in the log; porcupine: Illegal", func(s *story) {
			d := s.deeds[s.find(t, 200, moved)]
			d.reply = reply{refusal: "floor_passed"}
		}},
	} {
		s := madeStory(t)
		c.doctor(s)
		found := s.judged(t)
		for _, want := range strings.Split(c.want, "; ") {
			if !strings.Contains(found, want) {
				t.Errorf("%s: found %q, want %q", c.name, found, want)
			}
		}
	}
}

// TestGrowthIsNoticed shows that bounded sees a replica that leaks.
func TestGrowthIsNoticed(t *testing.T) {
	var steady, leaks, hoards growth
	for i := range 90 {
		s := sample{position: uint64(i * 1000)}
		for r := range chaosReplicas {
			s.memory[r], s.disk[r] = 80, float64(i)
		}
		steady.samples = append(steady.samples, s)
		leaking, hoarding := s, s
		leaking.memory[1] += float64(4 * i)
		hoarding.disk[2] += float64(20 * i)
		leaks.samples, hoards.samples = append(leaks.samples, leaking), append(hoards.samples, hoarding)
	}
	if report, err := steady.bounded(); err != nil {
		t.Errorf("steady: %v\n%s", err, report)
	}
	for name, g := range map[string]growth{"a leak of memory": leaks, "files without end": hoards} {
		if report, err := g.bounded(); err == nil {
			t.Errorf("%s is not noticed:\n%s", name, report)
		}
	}
}

// TestTakenBy shows that the disk's use is what the files hold, in folders too.
func TestTakenBy(t *testing.T) {
	dir := t.TempDir()
	for i := range 4 {
		sub := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, "x"), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := takenBy(dir); err != nil || got < 4 || got > 5 {
		t.Errorf("4 MB take %v MB, %v", got, err)
	}
}
