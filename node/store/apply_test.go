package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// town is a circle with members who can pay each other, on a state of any kind.
type town struct {
	tb     testing.TB
	m      *machine.Machine
	kv     machine.KV
	commit func(index uint64)
	index  uint64
	people []string
}

func newTown(tb testing.TB, kv machine.KV, commit func(uint64), people int) *town {
	tb.Helper()
	m, err := circle.New()
	must(tb, err)
	w := &town{tb: tb, m: m, kv: kv, commit: commit}
	w.do(machine.ActorOperator, "member.found", member.Found{
		Circle: "c", Key: make([]byte, 32), Name: "Dale", Place: "Dale", Aim: "care",
		Founder: machine.Text("", "Farida"),
	})
	w.do(machine.ActorOperator, "coin.policy", coin.SetPolicy{
		FloorMinutes: -100_000, EarnDayMinutes: 600, ReviewOn: "2026-09-30",
	})
	for i := range people {
		link := machine.Hash(sha256.Sum256(fmt.Appendf(nil, "link %d", i)))
		out := w.do(machine.ActorOperator, "member.invite", member.Invite{
			Name: machine.Text("", fmt.Sprint("Person ", i)), Link: link, Until: w.now() + 1_000_000,
		})
		w.people = append(w.people, out.Result.(member.Made).Person)
		w.do(machine.ActorNode, "member.enter", member.Enter{
			Link: link, Session: machine.Hash(sha256.Sum256(link[:])), Until: w.now() + 1_000_000,
		})
	}
	return w
}

func (w *town) now() int64 { return 1_772_438_400_000 + int64(w.index) }

// command encodes the next command.
func (w *town) command(by, kind string, body any) machine.Command {
	w.tb.Helper()
	w.index++
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, w.index))
	id := machine.ID(sum[:16])
	binary.BigEndian.PutUint64(id[:8], uint64(w.now())<<16|0x7000) // as UUIDv7 do: in order of time
	c, err := machine.NewCommand(id, machine.Caller{Actor: by}, w.now(), kind, body)
	must(w.tb, err)
	return c
}

func (w *town) apply(raw []byte) machine.Outcome {
	w.tb.Helper()
	out, err := w.m.Apply(w.kv, raw)
	must(w.tb, err)
	if out.Refusal != nil {
		w.tb.Fatal(out.Kind, out.Refusal)
	}
	w.commit(w.index)
	return out
}

func (w *town) do(by, kind string, body any) machine.Outcome {
	w.tb.Helper()
	c := w.command(by, kind, body)
	must(w.tb, w.m.Check(c))
	raw, err := c.Encode()
	must(w.tb, err)
	return w.apply(raw)
}

// payment is the n-th payment among the members.
func (w *town) payment(n int) machine.Command {
	from, to := n*7919%len(w.people), n*104729%(len(w.people)-1)
	if to >= from {
		to++
	}
	return w.command(w.people[from], "coin.pay", coin.Pay{
		To: w.people[to], Minutes: int64(1 + n%60), Activity: "company",
	})
}

const townPeople = 200

// towns runs a benchmark on a state in memory and on one on disk.
func towns(b *testing.B, run func(b *testing.B, w *town)) {
	b.Run("memory", func(b *testing.B) {
		run(b, newTown(b, machine.NewMem(), func(uint64) {}, townPeople))
	})
	b.Run("disk", func(b *testing.B) {
		s := mustState(b, stateConfig(b, filepath.Join(b.TempDir(), "state")))
		closeAfter(b, s)
		run(b, newTown(b, s, s.Commit, townPeople))
	})
}

// BenchmarkApplyPay applies payments of one member to another.
func BenchmarkApplyPay(b *testing.B) {
	towns(b, func(b *testing.B, w *town) {
		logged := make([][]byte, b.N)
		for i := range logged {
			raw, err := w.payment(i).Encode()
			must(b, err)
			logged[i] = raw
		}
		b.ReportAllocs()
		b.ResetTimer()
		for _, raw := range logged {
			w.apply(raw)
		}
	})
}

// BenchmarkCheckPay checks and encodes payments, as is done before they are logged.
func BenchmarkCheckPay(b *testing.B) {
	w := newTown(b, machine.NewMem(), func(uint64) {}, townPeople)
	c := w.payment(1)
	b.ReportAllocs()
	for b.Loop() {
		must(b, w.m.Check(c))
		_, err := c.Encode()
		must(b, err)
	}
}
