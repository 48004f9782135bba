package circle_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// tester is what a town needs of a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// town is one circle in memory: state, log, and the people in it by name.
type town struct {
	t      tester
	name   string
	m      *machine.Machine
	kv     *machine.Mem
	key    ed25519.PrivateKey
	id     letter.CircleID
	now    int64
	drawn  uint64
	people map[string]string
	log    [][]byte
}

const start = 1_772_438_400_000 // Monday 2 March 2026, 08:00 UTC

func newTown(t tester, name string) *town {
	t.Helper()
	m, err := circle.New()
	if err != nil {
		t.Fatal(err)
	}
	seed := sha256.Sum256([]byte(name))
	key := ed25519.NewKeyFromSeed(seed[:])
	w := &town{
		t: t, name: name, m: m, kv: machine.NewMem(), key: key, now: start, people: map[string]string{},
	}
	w.id = letter.CircleIDOf(key.Public().(ed25519.PublicKey))
	return w
}

func (w *town) fresh() machine.ID {
	w.drawn++
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(w.name), w.drawn))
	return machine.ID(sum[:16])
}

// do sends one command as a person by name, or a reserved actor, with a JSON-free body.
func (w *town) do(by, kind string, body any) machine.Outcome {
	w.t.Helper()
	if id, ok := w.people[by]; ok {
		by = id
	}
	return w.send(w.command(machine.Caller{Actor: by}, kind, body))
}

func (w *town) command(by machine.Caller, kind string, body any) machine.Command {
	w.t.Helper()
	w.now += 1000
	c, err := machine.NewCommand(w.fresh(), by, w.now, kind, body)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *town) send(c machine.Command) machine.Outcome {
	w.t.Helper()
	if err := w.m.Check(c); err != nil {
		return machine.Outcome{Refusal: machine.AsError(err)}
	}
	raw, err := c.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	before := machine.StateHash(w.kv)
	out, err := w.m.Apply(w.kv, raw)
	if err != nil {
		w.t.Fatal(err)
	}
	if out.Refusal != nil && machine.StateHash(w.kv) != before {
		w.t.Fatalf("%s was refused (%v) and changed the state", c.Kind, out.Refusal)
	}
	w.log = append(w.log, raw)
	return out
}

// must is do for what has to work.
func (w *town) must(by, kind string, body any) machine.Outcome {
	w.t.Helper()
	out := w.do(by, kind, body)
	if out.Refusal != nil {
		w.t.Fatalf("%s: %s by %s: %s: %s", w.name, kind, by, out.Refusal.Code, out.Refusal.Message)
	}
	return out
}

func (w *town) card() []byte { return w.cardOf(1) }

func (w *town) cardOf(seq uint64) []byte {
	w.t.Helper()
	raw, err := charter.Seal(w.key, charter.Card{
		Circle: w.id, Name: w.name, Place: w.name, Aim: "care", Key: w.key.Public().(ed25519.PublicKey),
		Hosts: []charter.Host{{Peer: "12D3KooW" + w.name[:1], Until: 1 << 50}},
		Addrs: []string{"/ip4/127.0.0.1/tcp/4001/p2p/12D3KooW" + w.name[:1]}, Seq: seq,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// view reads a view as a person.
func view[A any](w *town, by, name string, set func(q any) error) A {
	w.t.Helper()
	if id, ok := w.people[by]; ok {
		by = id
	}
	rd := machine.Read{Reader: w.kv, Caller: machine.Caller{Actor: by}, Now: w.now}
	got, err := w.m.View(rd, name, set)
	if err != nil {
		w.t.Fatalf("view %s by %s: %v", name, by, err)
	}
	return got.(A)
}

// deliver opens a session and carries every letter that waits at from to the other town.
func deliver(t tester, from, to *town) {
	t.Helper()
	nonce := courier.Nonce(from.fresh())
	by := machine.Caller{Actor: machine.PeerActor(string(from.id))}
	out := to.send(to.command(by, "exchange.session", exchange.Session{Nx: nonce, Ny: nonce}))
	if out.Refusal != nil {
		t.Fatalf("session: %v", out.Refusal)
	}
	held := out.Result.(exchange.Welcomed).Held
	var letters []letter.Signed
	for _, raw := range exchange.Outbox(from.kv, to.id, held.Seq+1, 1<<40) {
		letters = append(letters, letter.Sign(from.key, raw))
	}
	for records := range slices.Chunk(letters, courier.MaxBatchRecords) {
		batch := exchange.Receive{Nx: nonce, Ny: nonce, Records: records}
		out = to.send(to.command(by, "exchange.receive", batch))
		if out.Refusal != nil {
			t.Fatalf("receive: %v", out.Refusal)
		}
		if frozen := out.Result.(exchange.Received).Frozen; frozen != "" {
			t.Fatalf("pair frozen: %s", frozen)
		}
	}
}

// settle carries letters both ways until neither side has any.
func settle(t tester, a, b *town) {
	t.Helper()
	for range 4 {
		deliver(t, a, b)
		deliver(t, b, a)
	}
}
