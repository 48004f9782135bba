package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
)

// scenario is a cluster whose members come and go while clients write and read.
type scenario struct {
	*cluster
	size     int
	answered atomic.Uint64 // the highest count that any client was told
	reads    atomic.Int64
	did      map[string]int // what happened, by name
	made     int            // members so far
}

// step is one kind of trouble. It leaves the cluster whole.
type step struct {
	name string
	ok   func(s *scenario) bool // nil: always
	do   func(s *scenario)
}

func several(s *scenario) bool { return len(s.running()) > 2 }

var steps = []step{
	{name: "kill", do: (*scenario).killOne},
	{name: "kill all", do: (*scenario).killAll},
	{name: "snapshot", do: (*scenario).snapshotOne},
	{name: "state lost", do: (*scenario).loseState},
	{name: "cut off", ok: several, do: (*scenario).cutOne},
	{name: "split", ok: several, do: (*scenario).split},
	{name: "one way", ok: several, do: (*scenario).oneWay},
	{name: "hand over, cut off", ok: several, do: (*scenario).handOver},
	{name: "disks lost", ok: several, do: (*scenario).loseDisks},
	{name: "join", ok: func(s *scenario) bool { return len(s.running()) < 5 }, do: (*scenario).join},
	{name: "leave", ok: several, do: func(s *scenario) { s.leave(s.any()) }},
	{name: "leader leaves", ok: several, do: func(s *scenario) { s.leave(s.leader()) }},
	{name: "scrub", do: (*scenario).scrub},
}

func (s *scenario) between(low, high int) {
	<-time.After(time.Duration(low+s.rnd.IntN(high-low)) * time.Millisecond)
}

func (s *scenario) running() []*node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*node
	for _, n := range s.nodes {
		if n.r != nil {
			all = append(all, n)
		}
	}
	return all
}

func (s *scenario) any() *node {
	all := s.running()
	return all[s.rnd.IntN(len(all))]
}

func (s *scenario) killOne() {
	n := s.any()
	s.kill(n)
	s.between(1, 5000)
	s.open(n)
}

func (s *scenario) killAll() {
	all := s.running()
	for _, n := range all {
		s.kill(n)
	}
	for _, n := range all {
		s.between(1, 1000)
		s.open(n)
	}
}

func (s *scenario) snapshotOne() {
	if err := s.any().r.Snapshot(); err != nil {
		s.did["no snapshot"]++ // as in the middle of a replay
	}
}

// loseState loses a state as a whole: the newest snapshot and the log bring it back.
func (s *scenario) loseState() {
	n := s.any()
	s.kill(n)
	restores := n.state.restores
	n.state = newMemState()
	n.state.restores = restores
	s.open(n)
}

func (s *scenario) cutOne() {
	n := s.leader()
	s.setCut(n, true)
	s.between(1, 6000)
	s.setCut(n, false)
}

// split leaves a majority on one side.
func (s *scenario) split() {
	all := s.running()
	s.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	few := all[:(len(all)-1)/2]
	s.mu.Lock()
	for _, n := range few {
		s.side[n.id] = 1
	}
	s.connect()
	s.mu.Unlock()
	s.between(1, 6000)
	for _, n := range few {
		s.setCut(n, false)
	}
}

// oneWay has one replica hear another that does not hear it.
func (s *scenario) oneWay() {
	all := s.running()
	i := s.rnd.IntN(len(all))
	deaf, to := all[i], all[(i+1+s.rnd.IntN(len(all)-1))%len(all)]
	s.mu.Lock()
	deaf.trans.Disconnect(address(to.id, to.life))
	s.mu.Unlock()
	s.between(1, 6000)
	s.setCut(deaf, false)
}

// handOver has the leader hand over while it, or another, is cut off: what raft may never come out of.
func (s *scenario) handOver() {
	lead := s.leader()
	victim := s.any()
	var both sync.WaitGroup
	both.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := lead.r.HandOver(ctx, ""); err != nil {
			return // somebody else may lead after all, and does in a while
		}
	})
	if s.rnd.IntN(2) == 0 {
		<-time.After(time.Duration(s.rnd.IntN(20)) * time.Millisecond)
	}
	s.setCut(victim, true)
	both.Wait()
	s.between(1, 3000)
	s.setCut(victim, false)
}

// decide has whoever leads carry a change out, again and again until it says that it has. Now and then
// that leader is killed meanwhile.
func (s *scenario) decide(what string, do func(lead *Replica) error) {
	killed := s.rnd.IntN(3) > 0
	last := fmt.Errorf("nobody leads")
	for range 300 {
		n := s.leader()
		if n.r != nil && n.r.Status().State == "Leader" {
			done, r := make(chan error, 1), n.r
			go func() { done <- do(r) }()
			if !killed {
				killed = true
				<-time.After(time.Duration(s.rnd.IntN(30)) * time.Millisecond)
				s.kill(n)
				last = <-done
				s.open(n)
				continue
			}
			if last = <-done; last == nil {
				return
			}
		}
		<-time.After(100 * time.Millisecond)
	}
	s.t.Errorf("%s: %v", what, last)
}

func (s *scenario) setServer(n *node, voter bool) {
	s.decide("add "+n.id, func(lead *Replica) error {
		return lead.SetServer(context.Background(), Server{ID: n.id, Life: n.life, Voter: voter})
	})
}

func (s *scenario) removeServer(n *node) {
	s.decide("remove "+n.id, func(lead *Replica) error {
		if !slices.ContainsFunc(lead.Servers(), func(o Server) bool { return o.ID == n.id }) {
			return nil
		}
		return lead.RemoveServer(context.Background(), n.id)
	})
}

// bring adds a replica without a say, waits until it has caught up, and counts it.
func (s *scenario) bring(n *node) {
	s.setServer(n, false)
	for range 600 {
		<-time.After(50 * time.Millisecond)
		lead := s.leader()
		at := n.r.Status().Applied
		if lead.r.Status().State == "Leader" && at > 0 && at+64 >= lead.r.Status().Applied {
			s.setServer(n, true)
			return
		}
	}
	s.t.Errorf("%s does not catch up: %+v", n.id, n.r.Status())
}

func (s *scenario) join() {
	s.made++
	n := newMember(fmt.Sprint("r", s.made))
	s.open(n)
	s.mu.Lock()
	s.nodes = append(s.nodes, n)
	s.connect()
	s.mu.Unlock()
	s.bring(n)
}

func (s *scenario) leave(n *node) {
	s.removeServer(n)
	s.kill(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = slices.DeleteFunc(s.nodes, func(o *node) bool { return o == n })
}

// loseDisks has a replica begin anew on empty disks, in its next life.
func (s *scenario) loseDisks() {
	n := s.any()
	s.kill(n)
	s.removeServer(n)
	fresh := newMember(n.id)
	n.log, n.snaps, n.state = fresh.log, fresh.snaps, fresh.state
	n.life++
	s.open(n)
	s.bring(n)
}

// scrub compares the replicas as they are just then.
func (s *scenario) scrub() {
	var index uint64
	s.decide("scrub", func(lead *Replica) error {
		var err error
		index, err = lead.Scrub(context.Background())
		return err
	})
	if v := Judge(s.sums(index), len(s.running())); len(v.Differ) > 0 {
		s.t.Errorf("at entry %d: %+v", index, v)
	}
}

// revive starts replicas again that stopped because raft was stuck, as a service is started again.
func (s *scenario) revive() {
	for _, n := range s.running() {
		select {
		case err := <-n.fatal:
			if !strings.Contains(err.Error(), "raft is stuck in a leadership transfer") {
				s.t.Errorf("fatal: %v", err)
			}
			s.did["stuck"]++
			s.kill(n)
			s.open(n)
		default:
		}
	}
}

// read reads up to date at any replica: never less than any client was told before.
func (s *scenario) read(rnd *rand.Rand, done <-chan struct{}) {
	for !closed(done) {
		<-time.After(time.Duration(rnd.IntN(200)) * time.Millisecond)
		s.mu.Lock()
		r := s.nodes[rnd.IntN(len(s.nodes))].r
		s.mu.Unlock()
		if r == nil {
			continue
		}
		want := s.answered.Load()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := r.Fresh(ctx)
		cancel()
		if err != nil {
			continue
		}
		if got, err := r.View(context.Background(), anna, "test.total", nil); err == nil {
			s.reads.Add(1)
			count := got.(total).Count
			if count < want {
				s.t.Errorf("read %d where %d was answered", count, want)
			}
			raise(&s.answered, count)
		}
	}
}

func (s *scenario) run(rounds int) {
	for range rounds {
		s.between(200, 1000)
		var can []step
		for _, st := range steps {
			if st.ok == nil || st.ok(s) {
				can = append(can, st)
			}
		}
		st := can[s.rnd.IntN(len(can))]
		s.did[st.name]++
		st.do(s)
		s.revive()
	}
}

func newScenario(t *testing.T, seed uint64, size int) *scenario {
	return &scenario{
		cluster: newClusterOf(t, seed, size), size: size, did: map[string]int{}, made: size - 1,
	}
}

func (s *scenario) close() {
	for _, n := range s.running() {
		must(s.t, n.r.Close())
	}
}

// One, three and five replicas, through all that may happen to them, by seed: no command that was answered
// is lost, none is done twice, reads are up to date, and in the end all replicas hold the same, by a scrub
// and by their hashes.
func TestScenarios(t *testing.T) {
	seeds := uint64(50)
	if testing.Short() {
		seeds = 9
	}
	happened := map[string]int{}
	for seed := range seeds {
		size := []int{1, 3, 5}[seed%3]
		t.Run(fmt.Sprintf("seed%d of %d", seed, size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for name, times := range runScenario(t, seed, size) {
					happened[name] += times
				}
			})
		})
	}
	t.Log(happened)
	for _, st := range steps {
		if happened[st.name] == 0 {
			t.Errorf("%q never happened", st.name)
		}
	}
}

func runScenario(t *testing.T, seed uint64, size int) map[string]int {
	s := newScenario(t, seed, size)
	var mu sync.Mutex
	acknowledged := map[machine.ID]machine.Outcome{}
	var clients sync.WaitGroup
	done := make(chan struct{})
	for i := range uint64(3) {
		writer, reader := rand.New(rand.NewPCG(seed, 1+i)), rand.New(rand.NewPCG(seed, 10+i))
		clients.Go(func() {
			s.client(writer, done, func(id machine.ID, out machine.Outcome) {
				raise(&s.answered, out.Result.(total).Count)
				mu.Lock()
				defer mu.Unlock()
				acknowledged[id] = out
			})
		})
		clients.Go(func() { s.read(reader, done) })
	}
	s.run(12)
	<-time.After(5 * time.Second) // so that clients meet whoever is stuck
	close(done)
	clients.Wait()
	s.revive()
	s.settle()
	s.scrub()
	s.settle()
	s.holds(acknowledged)
	s.close()
	s.did["reads"], s.did["acknowledged"] = int(s.reads.Load()), len(acknowledged)
	s.did["unknown"], s.did["entries lost"] = int(s.unknown.Load()), int(s.lost.Load())
	return s.did
}

// holds compares what the replicas hold with what was answered.
func (s *scenario) holds(acknowledged map[machine.ID]machine.Outcome) {
	first := s.running()[0]
	want, did := stands(s.t, first.r), map[machine.ID]int{}
	for _, a := range listed(s.t, first.r) {
		did[a.ID]++
	}
	for id, times := range did {
		if times != 1 {
			s.t.Errorf("command %v was done %d times", id, times)
		}
	}
	for id, out := range acknowledged {
		if did[id] != 1 || out.Refusal != nil {
			s.t.Errorf("command %v was acknowledged (%+v) and done %d times", id, out, did[id])
		}
	}
	for _, n := range s.running() {
		if got := stands(s.t, n.r); got != want {
			s.t.Errorf("replica %s stands at %+v, %s at %+v", n.id, got, first.id, want)
		}
		s.did["installed"] += n.state.restores
	}
	if len(acknowledged) < 20 || s.reads.Load() < 20 {
		s.t.Errorf("too little happened: %d acknowledged, %d reads", len(acknowledged), s.reads.Load())
	}
}

// A replica that differs in one row, or in what one rule does, is found by the next scrub, and no other is.
func TestPlantedDivergence(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { plant(t, seed, []int{3, 5}[seed%2], seed%4 < 2) })
		})
	}
}

func plant(t *testing.T, seed uint64, size int, row bool) {
	s := newScenario(t, seed, size)
	victim := s.nodes[s.rnd.IntN(size)]
	write := func(times int) {
		for range times {
			n := s.any()
			must(t, n.r.Ready(t.Context()))
			mustDo(t, n.r, 1+s.rnd.Uint64N(9))
		}
	}
	write(10)
	s.scrub()
	if row {
		victim.r.mu.Lock()
		victim.state.Set([]byte("s/planted"), []byte{1})
		victim.state.durable.Set([]byte("s/planted"), []byte{1}) // it may be killed yet
		victim.r.mu.Unlock()
	} else {
		s.kill(victim)
		victim.rules = func(t testing.TB) *machine.Machine {
			return machineThat(t, func(tx *machine.Tx, b add) (total, error) {
				b.N += b.N / 7
				return applyAdd(tx, b)
			})
		}
		s.open(victim)
		for _, n := range s.running() { // so that there is a 7 among what is done
			must(t, n.r.Ready(t.Context()))
			mustDo(t, n.r, 7)
		}
	}
	write(10)
	var index uint64
	s.decide("scrub", func(lead *Replica) error {
		var err error
		index, err = lead.Scrub(context.Background())
		return err
	})
	sums := s.sums(index)
	if v := Judge(sums, size); len(sums) < size-1 || !v.Sure || !slices.Equal(v.Differ, []string{victim.id}) {
		t.Errorf("%s differs: %+v by %v", victim.id, v, sums)
	}
	s.close()
}
