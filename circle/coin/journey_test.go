package coin

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/ledger"
)

// abroad stands in for the exchange: coins held for, sent to and taken from another circle.
type abroad struct {
	Do      string     `cbor:"1,keyasint"` // hold, settle, void or in
	Person  string     `cbor:"2,keyasint"`
	Minutes int64      `cbor:"3,keyasint"`
	Hold    machine.ID `cbor:"4,keyasint"`
}

const elsewhere = CirclePrefix + "elsewhere"

func abroadFeature() machine.Feature {
	act := Act{Reason: ReasonAbroad, Activity: "visit"}
	return machine.Feature{Name: "abroad", Rules: []machine.Rule{machine.Do(
		"abroad.do", "Coins abroad.", machine.Anyone,
		func(tx *machine.Tx, b abroad) (machine.None, error) {
			m := Movement{
				Op: ledger.OpHold, ID: tx.Fresh(), From: b.Person, To: elsewhere,
				Minutes: b.Minutes, Act: act,
			}
			switch b.Do {
			case "limit":
				return machine.None{}, SetCircleLimit(tx, "elsewhere", "Elsewhere", 3000)
			case "settle":
				return machine.None{}, Finish(tx, ledger.OpSettle, tx.Fresh(), b.Hold, ReasonAbroad)
			case "void":
				return machine.None{}, Finish(tx, ledger.OpVoid, tx.Fresh(), b.Hold, ReasonAbroad)
			case "in":
				m.Op, m.From, m.To = ledger.OpPost, elsewhere, b.Person
			}
			_, err := Move(tx, m)
			return machine.None{}, err
		})}}
}

// walker is a small circle that moves coins at random.
type walker struct {
	m      *machine.Machine
	kv     *machine.Mem
	drawn  uint64
	people []string // ids; the first two agreed to be named
	done   []machine.ID
	holds  []machine.ID
}

var walkerNames = []string{"CANARY-agreed-one", "CANARY-agreed-two", "CANARY-silent-one", "CANARY-silent-two"}

func newWalker(t *testing.T) walker {
	t.Helper()
	m, err := machine.New(member.MayAct, member.Feature(), Feature(), abroadFeature())
	if err != nil {
		t.Fatal(err)
	}
	w := walker{m: m, kv: machine.NewMem()}
	must := func(by, kind string, body any) machine.Outcome {
		out := w.do(by, kind, body)
		if out.Refusal != nil {
			t.Fatalf("%s: %v", kind, out.Refusal)
		}
		return out
	}
	must("operator", "member.found", member.Found{
		Circle: "c", Key: []byte("k"), Name: "Hebden Bridge", Place: "Hebden Bridge", Aim: "care",
		Founder: machine.Text("", "Farida"),
	})
	must("operator", "coin.policy", SetPolicy{
		FloorMinutes: -120, WelcomeMinutes: 90, AutoGift: true, EarnDayMinutes: 1440, ReviewOn: "2026-09-30",
	})
	must("operator", "coin.place", AddPlace{Place: "hall", Name: "Village hall"})
	must("operator", "abroad.do", abroad{Do: "limit"})
	for i, name := range walkerNames {
		link := machine.Hash{byte(i + 1)}
		until := int64(w.drawn)*1000 + 1e6
		id := must("operator", "member.invite", member.Invite{
			Name: machine.Text("", name), Link: link, Until: until,
		}).Result.(member.Made).Person
		must("node", "member.enter", member.Enter{Link: link, Session: link, Until: until})
		must(id, "member.choose", member.Choose{Name: machine.Text("", name), Journey: i < 2})
		must("operator", "coin.earn", Earn{Person: id, Minutes: 30, Activity: "start"})
		w.people = append(w.people, id)
	}
	return w
}

func (w *walker) do(by, kind string, body any) machine.Outcome {
	w.drawn++
	id := machine.ID(binary.BigEndian.AppendUint64(make([]byte, 8), w.drawn))
	c, err := machine.NewCommand(id, machine.Caller{Actor: by}, int64(w.drawn)*1000, kind, body)
	if err != nil {
		panic(err)
	}
	raw, err := c.Encode()
	if err != nil {
		panic(err)
	}
	out, err := w.m.Apply(w.kv, raw)
	if err != nil {
		panic(err)
	}
	return out
}

// act does one thing at random; a refusal is fine.
func (w *walker) act(t *rapid.T) {
	person := rapid.SampledFrom(w.people).Draw(t, "person")
	minutes := rapid.Int64Range(1, 150).Draw(t, "minutes")
	note := machine.Private{}
	if rapid.IntRange(0, 3).Draw(t, "note") == 0 {
		note = machine.Text("", "a poem")
	}
	var out machine.Outcome
	switch rapid.SampledFrom([]string{
		"earn", "pay", "give", "give", "welcome", "autogift", "reverse", "abroad", "end",
	}).Draw(t, "act") {
	case "earn":
		out = w.do("operator", "coin.earn", Earn{Person: person, Minutes: minutes, Activity: "garden"})
	case "pay":
		to := rapid.SampledFrom(w.people).Draw(t, "to")
		out = w.do(person, "coin.pay", Pay{To: to, Minutes: minutes, Activity: "company", Note: note})
	case "give":
		to := rapid.SampledFrom(append([]string{Pool, "place/hall"}, w.people...)).Draw(t, "to")
		out = w.do(person, "coin.give", Give{To: to, Minutes: minutes, Note: note})
	case "welcome":
		out = w.do("operator", "coin.welcome", Welcome{Person: person})
	case "autogift":
		to := rapid.SampledFrom([]string{"", Pool, "place/hall"}).Draw(t, "to")
		w.do(person, "coin.autogift", AutoGift{To: to})
	case "reverse":
		if len(w.done) > 0 {
			undone := rapid.SampledFrom(w.done).Draw(t, "act")
			out = w.do("operator", "coin.reverse", Reverse{
				Transfer: undone, Why: machine.Text("", "CANARY-why"),
			})
		}
	case "abroad":
		how := rapid.SampledFrom([]string{"hold", "in"}).Draw(t, "how")
		out := w.do("operator", "abroad.do", abroad{Do: how, Person: person, Minutes: minutes})
		if out.Refusal == nil && how == "hold" {
			w.holds = append(w.holds, machine.ID(binary.BigEndian.AppendUint64(make([]byte, 8), w.drawn)))
		}
	case "end":
		if len(w.holds) > 0 {
			how := rapid.SampledFrom([]string{"settle", "void"}).Draw(t, "how")
			w.do("operator", "abroad.do", abroad{Do: how, Hold: rapid.SampledFrom(w.holds).Draw(t, "hold")})
		}
	}
	if moved, ok := out.Result.(Moved); ok {
		w.done = append(w.done, moved.Transfer)
	}
}

// lots compares the journeys with the book: the coins an account holds all have a way, and no others do.
func (w *walker) lots(t *rapid.T) {
	f := foldBook(w.kv)
	ReadBooks(w.kv).Accounts(Book, func(a ledger.Account) bool {
		if a.Kind == KindIssuance || a.Kind == KindCircle {
			return true
		}
		q := f.queue(a.ID)
		var sum int64
		for _, l := range q.lots {
			if l.minutes <= 0 {
				t.Fatalf("%s holds a lot of %d", a.ID, l.minutes)
			}
			sum += l.minutes
		}
		if sum != max(a.Posted, 0) || q.owed != max(-a.Posted, 0) {
			t.Fatalf("%s has %d; its lots sum to %d and %d are owed", a.ID, a.Posted, sum, q.owed)
		}
		return true
	})
	if _, err := ledger.Audit(ReadBooks(w.kv)); err != nil {
		t.Fatal(err)
	}
}

// journeys reads every person's journey: it shows as much as they hold, and names those who agreed only.
func (w *walker) journeys(t *rapid.T) {
	for i, person := range w.people {
		rd := machine.Read{Reader: w.kv, Caller: machine.Caller{Actor: person}, Now: 1 << 40}
		got, err := w.m.View(rd, "coin.journey", nil)
		if err != nil {
			t.Fatal(err)
		}
		j := got.(Journey)
		var held int64
		for _, l := range j.Held {
			held += l.Minutes
		}
		a, _ := ReadBooks(w.kv).Account(Book, person)
		if len(j.Held) < MaxLotsShown && held != max(a.Posted, 0) {
			t.Fatalf("%s holds %d; the journey shows %d", walkerNames[i], a.Posted, held)
		}
		raw, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		for _, hidden := range append(walkerNames[2:], w.people[2], w.people[3], "CANARY-why") {
			if strings.Contains(string(raw), hidden) {
				t.Fatalf("the journey of %s shows %s", walkerNames[i], hidden)
			}
		}
	}
}

// TestJourneysHoldEveryCoin walks coins at random and follows each of them.
func TestJourneysHoldEveryCoin(t *testing.T) {
	base := newWalker(t)
	rapid.Check(t, func(t *rapid.T) {
		w := base
		w.kv = machine.NewMem()
		machine.Copy(w.kv, base.kv)
		for range rapid.IntRange(1, 40).Draw(t, "acts") {
			w.act(t)
		}
		w.lots(t)
		w.journeys(t)
	})
}

func TestCoinsInWords(t *testing.T) {
	for minutes, want := range map[int64]string{
		0: "0 coins", 60: "1 coin", -60: "-1 coins", 150: "2.5 coins", 45: "0.75 coins", 1: "0.02 coins",
		59: "0.98 coins", -420: "-7 coins", 6000: "100 coins", 63: "1.05 coins", 66: "1.1 coins",
	} {
		if got := Coins(minutes); got != want {
			t.Errorf("Coins(%d) = %q, want %q", minutes, got, want)
		}
	}
}

func TestIsDay(t *testing.T) {
	for text, want := range map[string]bool{
		"2026-09-30": true, "": false, "2026-9-30": false, "2026/09/30": false, "2026-09-3x": false,
		"----------": false, "0000000000": false, "2026-09-30 ": false,
	} {
		if IsDay(text) != want {
			t.Errorf("IsDay(%q) is %v", text, !want)
		}
	}
}
