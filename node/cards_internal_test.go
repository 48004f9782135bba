package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/api"
)

// village is a circle with a directory, in memory, whose messages take their time.
type village struct {
	t       *testing.T
	machine *machine.Machine
	mu      sync.Mutex
	kv      *machine.Mem
	letters *letters
	cards   *cards
	others  map[letter.CircleID]*village
	away    atomic.Bool
}

func (v *village) Do(_ context.Context, c machine.Command) (machine.Outcome, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c.At = time.Now().UnixMilli()
	raw, err := c.Encode()
	if err != nil {
		return machine.Outcome{}, err
	}
	return v.machine.Apply(v.kv, raw)
}

func (v *village) Read(fn func(machine.Reader) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return fn(v.kv)
}

func (v *village) Watch() (<-chan []machine.Event, func()) { return nil, func() {} }

func (v *village) must(by, kind string, body any) any {
	v.t.Helper()
	id, err := api.NewID()
	if err != nil {
		v.t.Fatal(err)
	}
	c, err := machine.NewCommand(id, machine.Caller{Actor: by}, 0, kind, body)
	if err != nil {
		v.t.Fatal(err)
	}
	out, err := v.Do(v.t.Context(), c)
	if err != nil || out.Refusal != nil {
		v.t.Fatal(kind, err, out.Refusal)
	}
	return out.Result
}

// ask takes half a second there, and half a second back.
func (v *village) ask(ctx context.Context, to letter.CircleID, msg any) (any, error) {
	other := v.others[to]
	travel := func() error {
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
		if v.away.Load() || other.away.Load() {
			return errors.New("the line is cut")
		}
		return ctx.Err()
	}
	if err := travel(); err != nil {
		return nil, err
	}
	var reply any
	var err error
	peer := exchange.PeerState{Peer: exchange.Peer{Circle: v.letters.keys.CircleID()}}
	switch m := msg.(type) {
	case courier.Want:
		reply, err = other.cards.gotWant(m)
	case courier.Withdrawn:
		reply, err = other.cards.gotWithdrawn(peer, m)
	}
	return reply, errors.Join(err, travel())
}

func newVillage(t *testing.T, n int) *village {
	t.Helper()
	m, err := circle.New()
	if err != nil {
		t.Fatal(err)
	}
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = byte(n)
	v := &village{t: t, machine: m, kv: machine.NewMem(), others: map[letter.CircleID]*village{}}
	v.letters = &letters{
		circle: v, leads: func() bool { return true }, keys: Keys{Circle: ed25519.NewKeyFromSeed(seed)},
		sealer: &sealer{machine: m}, log: slog.New(slog.DiscardHandler),
		asNode: func(_ context.Context, kind string, body any) (any, error) {
			return v.must(machine.ActorNode, kind, body), nil
		},
	}
	if v.cards, err = openCards(v.letters, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	v.cards.ask = v.ask
	v.must("operator", "member.found", member.Found{
		Name: fmt.Sprint("Village ", n), Place: "here", Aim: "to be found", Founder: machine.Text("", "Ivo"),
		Circle: string(v.letters.keys.CircleID()), Key: v.letters.keys.CirclePublic(),
	})
	return v
}

// meetAll makes all villages known to each other.
func meetAll(t *testing.T, all []*village) {
	t.Helper()
	for _, v := range all {
		known := map[string]exchange.PeerState{}
		for _, o := range all {
			if o == v {
				continue
			}
			id := o.letters.keys.CircleID()
			sealed, err := charter.Seal(o.letters.keys.Circle, charter.Card{
				Circle: id, Name: string(id[:5]), Key: o.letters.keys.CirclePublic(), Seq: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			v.must("operator", "exchange.meet", exchange.Meet{Card: sealed})
			known[string(id)] = exchange.PeerState{Peer: exchange.Peer{Circle: id}}
			v.others[id] = o
		}
		v.letters.known.Store(&known)
	}
}

func (v *village) recalls() (open []findable.Unanswered) {
	err := v.Read(func(r machine.Reader) error {
		open = findable.Recalls(r)
		return nil
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return open
}

func (v *village) finds(word string) int {
	_, total, err := v.cards.finder.Search(directory.Query{Text: word, Now: time.Now().UnixMilli()})
	if err != nil {
		v.t.Fatal(err)
	}
	return total
}

// TestTakenBackWithinHalfAMinute: thirty seconds after a card was taken back, no circle that can be reached
// has it, each is on record as having said so, and the one that is away is named; that one complies within
// thirty seconds of being back.
func TestTakenBackWithinHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []*village
		for n := range 6 {
			all = append(all, newVillage(t, n+1))
		}
		meetAll(t, all)
		home, away := all[0], all[5]
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, v := range all {
			running.Go(func() { v.cards.run(ctx) })
		}
		ada := home.must("operator", "member.invite", member.Invite{
			Name: machine.Text("", "Ada"), Link: machine.Hash{1},
			Until: time.Now().Add(time.Hour).UnixMilli(),
		}).(member.Made).Person
		home.must("node", "member.enter", member.Enter{
			Link: machine.Hash{1}, Session: machine.Hash{2}, Until: time.Now().Add(time.Hour).UnixMilli(),
		})
		home.must(ada, "findable.choose", findable.Choose{Card: findable.Choice{Name: "Ada"}})
		time.Sleep(30 * time.Second)
		for n, v := range all {
			if v.finds("ada") != 1 {
				t.Errorf("village %d does not find her", n+1)
			}
		}
		away.away.Store(true)
		home.must(ada, "findable.withdraw", findable.Withdraw{})
		time.Sleep(3 * time.Second) // they are told, and need not ask
		for n, v := range all[:5] {
			if v.finds("ada") != 0 {
				t.Errorf("village %d was not told", n+1)
			}
		}
		time.Sleep(27 * time.Second)
		for n, v := range all[:5] {
			if v.finds("ada") != 0 {
				t.Errorf("village %d still finds her", n+1)
			}
		}
		left := home.recalls()
		if len(left) != 1 || left[0].Circle != away.letters.keys.CircleID() {
			t.Errorf("to answer: %+v", left)
		}
		if away.finds("ada") != 1 {
			t.Error("the one that is away cannot know")
		}
		time.Sleep(time.Hour)
		away.away.Store(false)
		time.Sleep(30 * time.Second)
		if left := home.recalls(); len(left) != 0 || away.finds("ada") != 0 {
			t.Errorf("back, and still to answer: %+v", left)
		}
		stop()
		running.Wait()
		synctest.Wait()
		for _, v := range all {
			if err := v.cards.close(); err != nil {
				t.Error(err)
			}
		}
	})
}
