package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/carecircle/carecircle/circle/machine"
)

var (
	soakMinutes = flag.Int("minutes", 10, "how long each test under fire lasts with -soak")
	chaosSeed   = flag.Uint64("seed", 0, "what tests under fire draw their faults from; 0: the clock")
)

const (
	shortFire  = 36 * time.Second
	longRound  = time.Minute // of fire, between two looks at everything
	judgeLimit = 2 * time.Minute
	askedAgain = 60 // commands, at the end of a round
	medianMost = 3 * time.Second
)

// TestThreeReplicasSoak has clients pay, give, earn and read at three replicas of one circle, each a process
// in a network namespace of its own, while one after the other is killed, cut off, deafened or paused. Every
// answer must hold.
func TestThreeReplicasSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	fire, round, p := shortFire, shortFire, shortPace
	if *soak {
		fire, round, p = time.Duration(*soakMinutes)*time.Minute, longRound, longPace
	}
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%v under fire, seed %d", fire, seed)
	s := newSiege(t, seed)
	for range max(1, int(fire/round)) {
		s.round(round, p)
		if t.Failed() {
			s.keep()
			return
		}
	}
	s.atTheEnd()
	if *soak {
		report, err := s.growth.bounded()
		if t.Log("\n" + report); err != nil {
			t.Error(err)
		}
	}
}

// siege is one run of the test.
type siege struct {
	t       *testing.T
	circle  *chaosCircle
	nemesis *nemesis
	judge   *judge
	clients []*chaosClient
	heard   *history
	open    []*deed // commands of earlier rounds of which nothing came so far
	growth  growth

	without, withoutLeader []time.Duration // after every kill; after those of the leader
	commands, reads        int
	unknown, effective     int             // commands without an answer; those of them that were done
	waits                  []time.Duration // for the answer to a command
	judging                time.Duration
}

func newSiege(t *testing.T, seed uint64) *siege {
	t.Helper()
	s := &siege{t: t, circle: newChaosCircle(t), heard: &history{began: time.Now()}, judge: newJudge()}
	s.nemesis = &nemesis{t: t, circle: s.circle, heard: s.heard, dice: rand.New(rand.NewPCG(seed, 1))}
	for n := range clientsEach * chaosReplicas {
		s.clients = append(s.clients, newChaosClient(s.circle, s.heard, n, seed))
	}
	for n := range readersAtIt {
		x := newChaosClient(s.circle, s.heard, len(s.clients)+n, seed)
		s.nemesis.readers = append(s.nemesis.readers, x)
	}
	s.circle.fund(t, s.heard)
	return s
}

// round is a time under fire, and then a look at everything.
func (s *siege) round(d time.Duration, p pace) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	stop, failed := make(chan struct{}), make(chan error, len(s.clients))
	var running sync.WaitGroup
	for _, x := range s.clients {
		running.Go(func() { failed <- x.run(ctx, stop) })
	}
	sampled := make(chan error, 1)
	running.Go(func() { sampled <- s.watch(ctx, stop) })
	kills := len(s.nemesis.kills)
	for began := s.heard.now(); s.heard.now()-began < d; {
		s.nemesis.cycle(ctx, p)
	}
	s.circle.net.join()
	s.circle.net.lose(false)
	close(stop)
	running.Wait()
	close(failed)
	err := errors.Join(<-sampled, s.nemesis.unasked)
	for e := range failed {
		err = errors.Join(err, e)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.circle.settle()
	for _, k := range s.nemesis.kills[kills:] {
		s.measure(k)
	}
	s.look()
}

// watch samples what the replicas hold until stop is closed.
func (s *siege) watch(ctx context.Context, stop <-chan struct{}) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-tick.C:
			s.heard.mu.Lock()
			position := s.judge.read
			for _, d := range s.heard.deeds {
				position = max(position, d.reply.position)
			}
			s.heard.mu.Unlock()
			if err := s.growth.sample(s.circle, position); err != nil && ctx.Err() == nil {
				return fmt.Errorf("sample: %w", err)
			}
		}
	}
}

func (s *siege) measure(k kill) {
	s.t.Helper()
	took, ok := s.heard.leaderless(k)
	if !ok {
		s.t.Errorf("no command was answered after the kill at %v", k.at)
		return
	}
	s.without = append(s.without, took)
	if k.led {
		s.withoutLeader = append(s.withoutLeader, took)
	}
}

// look checks all that the circle promises, while nothing happens.
func (s *siege) look() {
	s.t.Helper()
	before := s.judge.now
	deeds := append(s.open, s.heard.deeds...)
	for _, d := range s.heard.deeds {
		if !d.reads() {
			s.judge.asked[d.id] = d
		}
	}
	log, err := s.judge.follow(s.circle.exported())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := lostOrDoubled(deeds, log); err != nil {
		s.t.Error(err)
	}
	began := time.Now()
	if verdict := linearizable(before, log, deeds, judgeLimit); verdict != porcupine.Ok {
		s.t.Errorf("porcupine on %d requests: not found linearizable: %v", len(deeds), verdict)
	}
	s.judging += time.Since(began)
	s.count(deeds, log)
	for i := range chaosReplicas {
		books := s.circle.overview(i)
		got := s.circle.seen(books)
		if books.SumMinutes != 0 || got.all != s.judge.now.has || got.entries != s.judge.now.entries {
			s.t.Errorf("replica %d has %+v, summing to %d; the log makes it %+v", i+1, got,
				books.SumMinutes, s.judge.now)
		}
	}
	s.askAgain()
	if s.t.Failed() {
		return
	}
	s.heard.mu.Lock()
	s.heard.deeds = nil
	s.heard.mu.Unlock()
}

// keep writes down the history of a round that went wrong, and what the replicas said.
func (s *siege) keep() {
	s.t.Helper()
	var text bytes.Buffer
	for _, d := range s.heard.deeds {
		fmt.Fprintf(&text, "%+v\n", *d) //nolint:errcheck // it cannot fail
	}
	for i, r := range s.circle.replicas {
		if p := r.alive(); p != nil {
			fmt.Fprintf(&text, "replica %d said:\n%s\n", i+1, p.said.String()) //nolint:errcheck // as above
		}
	}
	f, err := os.CreateTemp("", "chaos-*.history")
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = text.WriteTo(f)
	if err := errors.Join(err, f.Close()); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("the history is in %s", f.Name())
}

// count takes a round into the figures, and keeps what may yet be done.
func (s *siege) count(deeds []*deed, log []entry) {
	done := map[machine.ID]bool{}
	for _, l := range log {
		done[l.id] = true
	}
	s.open = nil
	for _, d := range deeds {
		switch {
		case d.reads() && d.answered:
			s.reads++
		case d.reads():
		case d.answered:
			s.commands++
			s.waits = append(s.waits, d.back-d.call)
		case done[d.id]:
			s.unknown++
			s.effective++
		default:
			s.open = append(s.open, d)
		}
	}
}

// askAgain sends some answered commands once more, anywhere: each must be answered as it was.
func (s *siege) askAgain() {
	s.t.Helper()
	var answered []*deed
	for _, d := range s.heard.deeds {
		if d.answered && !d.reads() {
			answered = append(answered, d)
		}
	}
	for i := 0; i < len(answered); i += 1 + len(answered)/askedAgain {
		again := *answered[i]
		again.reply = reply{}
		x := s.clients[i%len(s.clients)]
		for again.answered = false; !again.answered; { // the client may give up: nothing else is to be told
			if err := x.ask(s.t.Context(), &again); err != nil {
				s.t.Fatal(err)
			}
		}
		if again.reply != answered[i].reply {
			s.t.Errorf("%s %s was answered %+v, and when asked again %+v", again.kind, again.id,
				answered[i].reply, again.reply)
		}
	}
}

// atTheEnd replays the log by the circle's own rules, and gives the figures.
func (s *siege) atTheEnd() {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "log")
	if err := os.WriteFile(path, s.circle.exported(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	checked, err := verifyFile(path)
	if err != nil || !checked.OK() || checked.Sum != 0 || checked.Entries != s.judge.now.entries {
		s.t.Errorf("the log, replayed, gives %+v, %v", checked, err)
	}
	s.unknown += len(s.open)
	s.t.Logf("%v", s.nemesis)
	s.t.Logf("%d commands answered, %d not, of which %d were done; %d reads; judged in %v", s.commands,
		s.unknown, s.effective, s.reads, s.judging.Round(time.Millisecond))
	slices.Sort(s.waits)
	s.t.Logf("an answer took %v (median), %v (99 of 100)", s.waits[len(s.waits)/2],
		s.waits[len(s.waits)*99/100])
	for _, w := range []struct {
		what string
		all  []time.Duration
	}{{"a kill", s.without}, {"a kill of the leader", s.withoutLeader}} {
		slices.Sort(w.all)
		if len(w.all) == 0 {
			s.t.Errorf("there was no %s", w.what)
			continue
		}
		middle := w.all[len(w.all)/2]
		s.t.Logf("%d times %s: the first command sent after it was answered after %v (median), %v (most)",
			len(w.all), w.what, middle.Round(time.Millisecond), w.all[len(w.all)-1].Round(time.Millisecond))
		if *soak && middle >= medianMost { // a few kills say little
			s.t.Errorf("the median after %s is to be under %v", w.what, medianMost)
		}
	}
	if s.unknown == 0 || s.commands < 500 || s.reads < 500 {
		s.t.Error("too little happened")
	}
}
