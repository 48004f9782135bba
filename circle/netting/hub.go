package netting

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// forgotten is the epoch of a round that the hub has heard of again.
const forgotten = math.MaxUint64

func wordKey(number uint64, circle string) machine.Key { return roundKey(number).Str(circle) }

func open(tx *machine.Tx, b Open) (machine.None, error) {
	if !hub.Opened(tx) {
		return machine.None{}, machine.Refuse("not_the_hub", "This circle is not the hub of others.")
	}
	for _, c := range openCalls(tx) {
		return machine.None{}, machine.Refuse("round_open", "Round %d has no outcome yet.", c.Number)
	}
	begin(tx, call{
		Gather: tx.Now() + b.GatherSeconds*secondMillis, Patient: b.AnswerSeconds * secondMillis,
	})
	return machine.None{}, nil
}

// begin begins a round: its number is the time, so that one that was forgotten has another.
func begin(tx *machine.Tx, c call) call {
	c.Number, c.Epoch = uint64(tx.Now()), hub.Epoch(tx)
	for _, last := range calls.Latest(tx, nil, nil) {
		c.Number = max(c.Number, last.Number+1)
		break
	}
	return move(tx, c, StageGathering)
}

func move(tx *machine.Tx, c call, stage Stage) call {
	c.Stage, c.At = stage, tx.Now()
	calls.Put(tx, roundKey(c.Number), c)
	if opens.Delete(tx, roundKey(c.Number)); !stage.over() {
		opens.Put(tx, roundKey(c.Number), true)
	}
	for _, id := range c.Circles {
		if stage == StageCleared {
			toTell.Put(tx, machine.Key{}.Str(id).Num(c.Number), true)
		}
	}
	tx.Emit(machine.Event{Kind: "netting." + stage.String(), Audience: []string{machine.AudienceCircle}})
	return c
}

// openCalls are the rounds without an outcome, oldest first.
func openCalls(r machine.Reader) []call {
	var out []call
	for key := range opens.All(r, nil, nil) {
		c, _ := calls.Get(r, roundKey(key.First()))
		out = append(out, c)
	}
	return out
}

// say hears what a circle has to say to a round. What it answered first counts.
func (f feature) say(tx *machine.Tx, b Say) (machine.None, error) {
	who, _ := tx.Caller().Peer()
	if _, known := exchange.KeyOf(tx, letter.CircleID(who)); !known || !hub.Opened(tx) {
		return machine.None{}, machine.Refuse("unknown_circle", "This is not the hub of %.40q.", who)
	}
	c, ok := calls.Get(tx, roundKey(b.Number))
	if !ok && len(b.Paper.Bytes) == 0 {
		return machine.None{}, nil // of a time that was lost, and nothing came of it
	}
	if !ok || len(b.Outcome.Bytes) > 0 {
		var err error
		if c, err = f.remember(tx, c, b); err != nil {
			return machine.None{}, err
		}
	}
	w, _ := words.Get(tx, wordKey(c.Number, who))
	switch c.Stage {
	case StageGathering:
		if b.Stated && !w.Stated {
			w.Stated, w.Positions = true, b.Positions
		}
	case StageProposed:
		w.Epoch = hub.Epoch(tx) + 1
		if w.Answer != 0 {
			break
		}
		switch asked := b.Consent.Circle != ""; {
		case b.No:
			w.Answer = no
		case asked && (string(b.Consent.Circle) != who || b.Consent.Check(f.Verify, c.Hash) != nil):
			return machine.None{}, machine.Refuse("bad_round", "This is no consent to this round.")
		case asked:
			w.Answer, w.Consent = yes, b.Consent
		}
	default:
		return machine.None{}, nil // late
	}
	words.Put(tx, wordKey(c.Number, who), w)
	return machine.None{}, nil
}

// remember takes back a round, or its outcome, that the hub itself signed and has forgotten.
func (f feature) remember(tx *machine.Tx, c call, b Say) (call, error) {
	us, _ := member.TheCircle(tx)
	bad := machine.Refuse("bad_round", "This is no round of this hub.")
	p, err := clearing.OpenPaper(f.Verify, us.Key, b.Paper)
	if err != nil || p.Number != b.Number || string(p.Hub) != us.ID {
		return c, bad
	}
	if c.Stage.over() {
		return c, nil
	}
	c.Number, c.Epoch = p.Number, forgotten
	c.onPaper(p, b.Paper.Bytes)
	c.Patient = max(c.Patient, p.Until-tx.Now(), secondMillis)
	if len(b.Outcome.Bytes) == 0 {
		return move(tx, c, StageProposed), nil
	}
	o, err := clearing.OpenOutcome(f.Verify, us.Key, b.Outcome)
	if err != nil || o.Of(f.Verify, c.Paper, p) != nil {
		return c, bad
	}
	c.Outcome = b.Outcome.Bytes
	if o.Cleared {
		return move(tx, c, StageCleared), nil
	}
	return move(tx, c, StageDropped), nil
}

// asked are the circles whose positions a round gathers.
func asked(r machine.Reader, c call) []string {
	var out []string
	for _, p := range exchange.Peers(r) {
		if !p.Frozen && !slices.Contains(c.Left, string(p.Circle)) {
			out = append(out, string(p.Circle))
		}
	}
	return out
}

// ready tells whether a round goes on: all have said what they were asked, or the time is over.
func ready(r machine.Reader, c call, now int64) bool {
	if c.Stage == StageGathering {
		if c.Epoch != hub.Epoch(r) {
			return true // it went on in a time that was lost
		}
		missing := slices.ContainsFunc(asked(r, c), func(id string) bool {
			w, _ := words.Get(r, wordKey(c.Number, id))
			return !w.Stated
		})
		return !missing || now > c.Gather
	}
	all, yeses, noes := tally(r, c)
	return all && (noes > 0 || yeses == len(c.Circles) || now > c.At+c.Patient)
}

// tally counts answers. All tells whether the hub has heard of every circle what it knows of the round, where
// the hub's books were put back since they were asked.
func tally(r machine.Reader, c call) (all bool, yeses, noes int) {
	epoch := hub.Epoch(r)
	all = true
	for _, id := range c.Circles {
		w, _ := words.Get(r, wordKey(c.Number, id))
		all = all && (c.Epoch == epoch || w.Epoch == epoch+1)
		switch w.Answer {
		case yes:
			yeses++
		case no:
			noes++
		default:
		}
	}
	return all, yeses, noes
}

// Due tells whether netting.step has something to do.
func Due(r machine.Reader, now int64) bool {
	return slices.ContainsFunc(openCalls(r), func(c call) bool { return ready(r, c, now) })
}

func step(tx *machine.Tx, _ Step) (machine.None, error) {
	for _, c := range openCalls(tx) {
		var err error
		switch {
		case !ready(tx, c, tx.Now()):
		case c.Stage == StageGathering && c.Epoch != hub.Epoch(tx):
			calls.Delete(tx, roundKey(c.Number)) // who was asked since then knows more, and says so
			opens.Delete(tx, roundKey(c.Number))
		case c.Stage == StageGathering:
			err = propose(tx, c)
		default:
			err = decide(tx, c)
		}
		if err != nil {
			return machine.None{}, err
		}
	}
	return machine.None{}, nil
}

// propose finds what sets off the most of what both sides of each pair say is owed.
func propose(tx *machine.Tx, c call) error {
	p, err := clearing.Solve(owed(tx, c))
	if err != nil {
		return machine.Refuse("bad_round", "These positions cannot be set off: %v.", err)
	}
	if len(p.Changes) == 0 {
		move(tx, c, StageNothing)
		return nil
	}
	us, _ := member.TheCircle(tx)
	paper := clearing.Paper{
		Hub: letter.CircleID(us.ID), Number: c.Number, Until: tx.Now() + c.Patient, Proposal: p,
	}
	raw, err := paper.Encode()
	if err != nil {
		return machine.Refuse("bad_round", "This cannot be put on paper: %v.", err)
	}
	c.onPaper(paper, raw)
	move(tx, c, StageProposed)
	return nil
}

func (c *call) onPaper(p clearing.Paper, raw []byte) {
	c.Paper, c.Hash, c.Circles = raw, clearing.HashOf(raw), nil
	for _, id := range p.Circles() {
		c.Circles = append(c.Circles, string(id))
	}
}

// owed is what circles owe each other, as far as both say so; of too many the largest.
func owed(r machine.Reader, c call) []clearing.Obligation {
	var out []clearing.Obligation
	circles := asked(r, c)
	said := make([][]Position, len(circles))
	for i, id := range circles {
		w, _ := words.Get(r, wordKey(c.Number, id))
		said[i] = w.Positions
	}
	for i, debtor := range circles {
		for _, p := range said[i] {
			j, known := slices.BinarySearch(circles, p.Circle)
			if p.Minutes <= 0 || !known {
				continue
			}
			k, both := slices.BinarySearchFunc(said[j], debtor, func(q Position, id string) int {
				return strings.Compare(q.Circle, id)
			})
			if both && said[j][k].Minutes < 0 {
				out = append(out, clearing.Obligation{
					Debtor: debtor, Creditor: p.Circle, Minutes: min(p.Minutes, -said[j][k].Minutes),
				})
			}
		}
	}
	if len(out) > clearing.MaxRoundObligations {
		slices.SortStableFunc(out, func(a, b clearing.Obligation) int {
			return cmp.Compare(b.Minutes, a.Minutes)
		})
		out = out[:clearing.MaxRoundObligations]
	}
	return out
}

// decide ends a round: it is set off when all agreed; else it is put to those who did not decline once more.
func decide(tx *machine.Tx, c call) error {
	us, _ := member.TheCircle(tx)
	o := clearing.Outcome{Hub: letter.CircleID(us.ID), Number: c.Number, Paper: c.Hash}
	var left []string
	for _, id := range c.Circles {
		w, _ := words.Get(tx, wordKey(c.Number, id))
		if w.Answer != yes {
			left = append(left, id)
			continue
		}
		o.Consents = append(o.Consents, w.Consent)
	}
	if o.Cleared = len(left) == 0; !o.Cleared {
		o.Consents = nil
	}
	var err error
	if c.Outcome, err = o.Encode(); err != nil {
		return machine.Refuse("bad_round", "This outcome cannot be written: %v.", err)
	}
	if o.Cleared {
		move(tx, c, StageCleared)
		return nil
	}
	move(tx, c, StageDropped)
	if c.Epoch != forgotten {
		again(tx, c, left)
	}
	return nil
}

// again puts a round to the circles that did not decline, by the positions that they have stated.
func again(tx *machine.Tx, before call, left []string) {
	c := begin(tx, call{
		Gather: tx.Now(), Patient: before.Patient, Left: append(slices.Clone(before.Left), left...),
	})
	for _, id := range asked(tx, c) {
		if w, ok := words.Get(tx, wordKey(before.Number, id)); ok && w.Stated {
			words.Put(tx, wordKey(c.Number, id), word{Stated: true, Positions: w.Positions})
		}
	}
}

// news is what the hub has to tell a circle next.
type news struct {
	Number  uint64 // 0: nothing
	Stage   Stage
	Paper   []byte
	Outcome []byte
	Wanted  bool // the circle is to say something, and be it that it knows no outcome
}

// newsFor is the next for a circle that knows some rounds to be cleared, and has one without an outcome.
func newsFor(r machine.Reader, circle string, known []uint64, current uint64) news {
	if current != 0 {
		c, ok := calls.Get(r, roundKey(current))
		if !ok {
			return news{Number: current, Stage: StageUnknown, Wanted: true}
		}
		if n, some := newsOf(r, c, circle); some {
			if n.Stage == StageProposed {
				n.Paper = nil // it has that; people take days to answer, and nodes ask every other second
			}
			return n
		}
	}
	told := newest(r, toTell, machine.Key{}.Str(circle))
	for _, number := range known { // what we may have forgotten
		if c, _ := calls.Get(r, roundKey(number)); !slices.Contains(told, number) && !c.Stage.over() {
			return news{Number: number, Stage: StageUnknown, Wanted: true}
		}
	}
	for _, number := range told { // what it may have forgotten
		before := len(known) == courier.MaxKnownRounds && number < known[0]
		if !before && !slices.Contains(known, number) {
			c, _ := calls.Get(r, roundKey(number))
			n, _ := newsOf(r, c, circle)
			return n
		}
	}
	for _, c := range openCalls(r) {
		if n, some := newsOf(r, c, circle); some {
			return n
		}
	}
	return news{}
}

// newsOf is what one round has to tell a circle.
func newsOf(r machine.Reader, c call, circle string) (news, bool) {
	n := news{Number: c.Number, Stage: c.Stage, Paper: c.Paper, Outcome: c.Outcome}
	w, _ := words.Get(r, wordKey(c.Number, circle))
	switch c.Stage {
	case StageGathering:
		n.Wanted = !w.Stated && slices.Contains(asked(r, c), circle)
		return n, n.Wanted
	case StageProposed:
		n.Wanted = c.Epoch != hub.Epoch(r) && w.Epoch != hub.Epoch(r)+1
		return n, slices.Contains(c.Circles, circle) && (n.Wanted || w.Answer == 0)
	case StageCleared, StageDropped:
		return n, slices.Contains(c.Circles, circle)
	default:
		return n, false
	}
}
