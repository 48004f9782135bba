// Package sim runs a whole federation in one process, from one seed: real circles over an ideal log that
// lags, crashes and is replayed, real couriers over a bad network, people who pay, retry, lose patience and
// move.
// Checkers look on while faults last; then the faults stop, and everything must come to rest. A seed and a
// commit give the same history every time.
package sim

import (
	"fmt"
	"slices"

	"github.com/carecircle/carecircle/federation/clearing"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/memnet"
	"github.com/carecircle/carecircle/federation/payment"
)

// Limits and rhythms of a run; times in virtual milliseconds.
const (
	minCircles     = 2
	maxCircles     = 5
	minTicks       = 1_200   // of a drawn time with faults
	maxTicks       = 4_500   // of the same
	minRoundTicks  = 3_000   // at least, where circles set off what they owe
	settleLimit    = 150_000 // after the faults end, all must be at rest within this
	restMillis     = 3_500   // and stay so for this long, while stragglers come in
	checkMillis    = 1_000   // from one round of the checkers to the next
	workMillis     = 100     // a node asks its courier at least so often
	officeMillis   = 2_000   // and the hub whether it was put back
	expireMillis   = 1_000   // and looks for payments past their time
	clockStart     = 1_772_438_400_000
	maxViolations  = 3 // of one checker
	eventsKept     = 50
	snapshotsKept  = 3
	maxEventsOfRun = 2_000_000
	replayEvery    = 5 // of how many runs one has its logs replayed and its ledgers audited at the end
	recallAtOnce   = 8 // records
)

// Options choose a run.
type Options struct {
	Seed   uint64
	Ticks  int64             // virtual milliseconds with faults; 0: drawn from the seed
	Mutate string            // what to break on purpose, one of Mutations; empty: nothing
	Watch  func(line string) // gets every event as it happens; nil: nobody looks
}

// Result is what a run came to.
type Result struct {
	Seed       uint64
	Circles    int
	Payments   int // between circles
	Settled    int
	Returned   int
	Crashes    int
	Messages   int // requests and answers put on the network
	Lost       int // requests whose asker got no answer in time
	Duplicated int // requests handled again
	Commands   int // committed, in all circles
	Refused    int // of these
	Retried    int // client requests sent again
	Recalled   int // payments that were asked back
	Restores   int // of circles, to an older copy
	Recalls    int // letters that circles took back from peers after one
	Questions  int // put to the hub
	Verdicts   int
	Reports    int // of circles to the hub, after it was put back
	WrittenOff int
	Moves      int // of people to another circle
	Rounds     int // of setting off between circles that were cleared
	Millis     int64
	Mutated    int      // how often Options.Mutate was done
	Repelled   int      // how often a circle refused what was mutated
	Violations []string // each begins with the checker's name; empty is well
	TraceHash  machine.Hash
	Events     []string       // the last before the end, or before the first violation
	Seen       map[string]int // what happened how often: refusals by kind and code, decisions by reason
}

// Add adds another run's counts to r's.
func (r *Result) Add(o Result) {
	if r.Seen == nil {
		r.Seen = map[string]int{}
	}
	for what, n := range o.Seen {
		r.Seen[what] += n
	}
	r.Circles += o.Circles
	r.Payments += o.Payments
	r.Settled += o.Settled
	r.Returned += o.Returned
	r.Recalled += o.Recalled
	r.Crashes += o.Crashes
	r.Restores += o.Restores
	r.Recalls += o.Recalls
	r.Questions += o.Questions
	r.Verdicts += o.Verdicts
	r.Reports += o.Reports
	r.WrittenOff += o.WrittenOff
	r.Moves += o.Moves
	r.Rounds += o.Rounds
	r.Messages += o.Messages
	r.Lost += o.Lost
	r.Duplicated += o.Duplicated
	r.Commands += o.Commands
	r.Refused += o.Refused
	r.Retried += o.Retried
	r.Millis += o.Millis
	r.Mutated += o.Mutated
	r.Repelled += o.Repelled
	r.Violations = append(r.Violations, o.Violations...)
}

type sim struct {
	opt     Options
	res     Result
	dice    dice
	now     int64
	calm    bool // the faults are over
	queue   queue
	net     *memnet.Net
	handled []bool // by request id: came before
	machine *machine.Machine
	notary  *notary
	towns   []*town
	hub     *town // decides on payments without an answer; not one of towns
	liar    *town // see liesAbout
	shaken  map[pair]bool
	read    *readings
	states  *states
	// rollbacks is how many crashes in a thousand put the circle back to an older copy.
	rollbacks int
	byID      map[letter.CircleID]*town
	clients   []*client
	open      int // client requests not yet answered
	asked     []*request
	links     map[string]machine.Hash // by move: the first link in the new circle
	moved     map[string]bool         // moves that are done
	outcomes  map[clearing.PaperHash]outcomeSeen
	movers    map[string]string // who, at the home they left, by move
	trace     trace
	rounds    []checker
	found     map[string]int // violations by checker
	mutation
}

// Run plays one history. It never fails: what went wrong is in Result.Violations.
func Run(o Options) Result {
	n := newNotary()
	m, err := circle.With(exchange.Options{
		Protocol: payment.Protocol{Off: ruleOff(o.Mutate)}, Verify: n.verify,
	})
	s := newSim(o, m, n)
	if err != nil {
		s.fail("setup", "the circle's machine: %v", err)
		return s.res
	}
	ticks := o.Ticks
	if ticks == 0 {
		ticks = s.dice.between(minTicks, maxTicks)
		if s.roundsAbout() {
			ticks = max(ticks, minRoundTicks)
		}
	}
	s.net = memnet.New(s.dice.next(), s.drawFaults())
	s.foundAll()
	s.startAll(ticks)
	s.prepareMutation(ticks)
	s.until(ticks, func() bool { return false })
	s.calmDown()
	s.settle(ticks + settleLimit)
	if s.movesAbout() && s.opt.Seed%6 == 1 || s.roundsAbout() {
		s.lateLoss()
		s.settle(s.now + settleLimit)
	}
	s.until(s.now+restMillis, func() bool { return false })
	s.finish()
	return s.res
}

func (s *sim) settle(end int64) {
	if !s.until(end, s.atRest) {
		s.fail("liveness", "not at rest %d ms after the faults ended: %s", int64(settleLimit), s.unrest())
	}
}

func newSim(o Options, m *machine.Machine, n *notary) *sim {
	s := &sim{
		opt: o, notary: n, dice: dice{o.Seed}, trace: newTrace(o.Watch), machine: m,
		res:  Result{Seed: o.Seed, Seen: map[string]int{}},
		byID: map[letter.CircleID]*town{}, found: map[string]int{}, shaken: map[pair]bool{},
		links: map[string]machine.Hash{}, moved: map[string]bool{}, movers: map[string]string{},
		outcomes: map[clearing.PaperHash]outcomeSeen{},
	}
	s.rounds = s.checkers()
	return s
}

// all are the towns and the hub.
func (s *sim) all() []*town { return append(slices.Clone(s.towns), s.hub) }

// until handles events up to a time, or until done says so at a tick; it tells whether done did.
func (s *sim) until(end int64, done func() bool) bool {
	nextAsk := s.now
	for s.trace.count < maxEventsOfRun {
		at, ok := s.queue.next()
		if n, some := s.net.Next(); some && (!ok || n <= at) {
			at, ok = n, true
		}
		if !ok || at > end {
			s.now = end
			return done()
		}
		s.now = at
		for _, e := range s.net.Due(at) {
			s.arrived(e)
		}
		for do := s.queue.due(at); do != nil; do = s.queue.due(at) {
			do()
		}
		if s.now >= nextAsk {
			nextAsk = s.now + workMillis
			if done() {
				return true
			}
		}
	}
	s.fail("liveness", "more than %d events", maxEventsOfRun)
	return false
}

// after has something done a while from now.
func (s *sim) after(millis int64, do func()) { s.queue.push(s.now+millis, do) }

// every has something done again and again, for as long as the run lasts.
func (s *sim) every(millis int64, do func()) {
	s.after(millis, func() {
		do()
		s.every(millis, do)
	})
}

// fail records a violation found by a checker. The events before the first are kept.
func (s *sim) fail(checker, format string, args ...any) {
	text := checker + ": " + fmt.Sprintf(format, args...)
	s.note("", "violation", text, 0, 0)
	if len(s.res.Violations) == 0 {
		s.res.Events = s.trace.last()
	}
	if s.found[checker]++; s.found[checker] <= maxViolations {
		s.res.Violations = append(s.res.Violations, text)
	}
}

func (s *sim) note(who, what, text string, a, b int64) {
	s.trace.add(event{at: s.now, who: who, what: what, text: text, a: a, b: b})
}

// finish runs the last checks and adds up the result.
func (s *sim) finish() {
	for _, t := range s.all() {
		for i := range t.replicas {
			if i == t.lead || !s.alone() {
				t.catchUp(i, len(t.log))
			}
		}
	}
	s.round()
	s.lastRound()
	s.res.Circles, s.res.Millis = len(s.towns), s.now
	s.res.Verdicts = int(hub.Verdicts(s.hub.state()))
	for _, t := range s.all() {
		s.res.Commands += len(t.log)
		meta := machine.ReadMeta(t.state())
		s.note(t.name, "end", meta.Head.String(), int64(meta.Position), int64(t.leader().kv.print))
	}
	s.res.TraceHash = s.trace.hash()
	if len(s.res.Violations) == 0 {
		s.res.Events = s.trace.last()
	}
}
