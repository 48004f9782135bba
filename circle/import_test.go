package circle_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/ledger"
)

// importTown has three members and a place, and no account but the circle's own.
func importTown(t *testing.T) *town {
	w := newTown(t, "Hebden Bridge")
	w.found("Farida")
	for _, name := range []string{"Alice", "Ben", "Cathy"} {
		w.join(name)
	}
	w.must("Farida", "coin.place", coin.AddPlace{Place: "shed", Name: "The shed"})
	return w
}

// account is the account of a person by name, or the name itself.
func (w *town) account(name string) string {
	if id, ok := w.people[name]; ok {
		return id
	}
	return name
}

// lines reads an import from "Alice>Ben 60" and the like.
func (w *town) lines(lines ...string) coin.Import {
	b := coin.Import{Activity: "the old book"}
	for _, line := range lines {
		way, rest, _ := strings.Cut(line, " ")
		from, to, _ := strings.Cut(way, ">")
		var minutes, when int64
		fmt.Sscan(rest, &minutes, &when) //nolint:errcheck // a time is not always there
		b.Transfers.Add(w.account(from), w.account(to), minutes, when)
	}
	return b
}

func (w *town) audit() {
	w.t.Helper()
	if report, err := ledger.Audit(coin.ReadBooks(w.kv)); err != nil {
		w.t.Fatalf("%v: %v", err, report.Findings)
	}
}

func TestImport(t *testing.T) {
	w := importTown(t)
	old := int64(start - 1000)
	c := w.command(machine.Caller{Actor: "operator"}, "coin.import", w.lines(
		fmt.Sprint("issuance>Alice 600 ", old), "Alice>Ben 120", "Alice>pool 60", "pool>place/shed 30",
		"Ben>Cathy 200"))
	out := w.send(c)
	got, ok := out.Result.(coin.Imported)
	if !ok || got.Count != 5 {
		t.Fatalf("%+v", out)
	}
	again := w.send(c)
	if again.Result != out.Result || !again.Repeated {
		t.Errorf("the same import again: %+v, first %+v", again, out)
	}
	want := map[string]int64{"Alice": 7, "Ben": -1, "Cathy": 3, "issuance": -10}
	for name, coins := range w.balances() {
		if coins != want[name] && want[name] != 0 {
			t.Errorf("%s has %d coins, want %d", name, coins, want[name])
		}
	}
	w.audit()
	books := coin.ReadBooks(w.kv)
	first, _ := books.Entry(got.First)
	if first.Effective() != old || first.Transfer.ID != ledger.ID(got.Transfer) {
		t.Errorf("the first entry is %+v", first.Transfer)
	}
	if l, ok := ledger.BalanceAt(books, coin.Book, w.people["Alice"], got.First+1); !ok || l.Posted != 480 {
		t.Errorf("after the second line Alice has %d", l.Posted)
	}
	statement := w.view("Alice", "coin.statement", func(any) error { return nil }).(coin.Statement)
	var shown []string
	for _, l := range statement.Lines {
		shown = append(shown, fmt.Sprint(l.N, " ", l.Reason, " ", l.Change, " ", l.Balance, " ", l.Activity))
	}
	if s := strings.Join(shown, "; "); s != "4 gift -60 420 the old book; 3 pay -120 480 the old book;"+
		" 2 earn 600 600 the old book" {
		t.Errorf("Alice's statement: %s", s)
	}
	journey := w.view("Cathy", "coin.journey", func(any) error { return nil }).(coin.Journey)
	if len(journey.Held) == 0 || journey.Held[0].Steps[0].Activity != "the old book" {
		t.Errorf("Cathy's coins: %+v", journey.Held)
	}
}

func (w *town) view(by, name string, set func(any) error) any {
	w.t.Helper()
	got, err := w.m.View(machine.Read{
		Reader: w.kv, Caller: machine.Caller{Actor: w.people[by]}, Now: w.now,
	}, name, set)
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

func TestImportedActUndone(t *testing.T) {
	w := importTown(t)
	out := w.must("operator", "coin.import", w.lines("issuance>Alice 600", "Alice>Ben 120"))
	got := out.Result.(coin.Imported)
	w.must("operator", "coin.earn", coin.Earn{Person: w.people["Alice"], Minutes: 60, Activity: "garden"})
	second := machine.ID(must(t)(ledger.ParseID(strings.ReplaceAll(got.Transfer.String(), "-", ""))))
	second[15]++
	undo := coin.Reverse{Transfer: second, Why: machine.Text("", "was entered twice")}
	w.must("operator", "coin.reverse", undo)
	refusedAs(t, w.do("operator", "coin.reverse", undo), "already_reversed")
	w.must("operator", "coin.reverse", coin.Reverse{
		Transfer: got.Transfer, Why: machine.Text("", "was no work"),
	})
	w.audit()
	if b := w.balances(); b["Alice"] != 1 || b["Ben"] != 0 {
		t.Errorf("%v", b)
	}
	unknown := got.Transfer
	unknown[14] = 9
	undo = coin.Reverse{Transfer: unknown, Why: machine.Text("", "x")}
	refusedAs(t, w.do("operator", "coin.reverse", undo), "act_unknown")
	// The day's work is what was recorded on the day, not what was imported and undone.
	refusedAs(t, w.do("operator", "coin.earn", coin.Earn{
		Person: w.people["Alice"], Minutes: 690, Activity: "garden",
	}), "day_limit")
}

func refusedAs(t *testing.T, out machine.Outcome, code string) {
	t.Helper()
	if out.Refusal == nil || out.Refusal.Code != code {
		t.Errorf("%+v, want refused %s", out, code)
	}
}

func must(t *testing.T) func(ledger.ID, error) ledger.ID {
	return func(id ledger.ID, err error) ledger.ID {
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
}

// The transfers of an import have ids that nobody else can take, before or after.
func TestImportedIDsAreTaken(t *testing.T) {
	w := importTown(t)
	out := w.must("operator", "coin.import", w.lines("issuance>Alice 600", "Alice>Ben 120"))
	got := out.Result.(coin.Imported)
	of, _, ok := ledger.SeriesOf(ledger.ID(got.Transfer))
	if !ok || coin.ReadBooks(w.kv).SeriesFree(of) {
		t.Error("the series of an import is free")
	}
	pay := coin.Pay{To: w.people["Ben"], Minutes: 5, Activity: "a lift"}
	alice := machine.Caller{Actor: w.people["Alice"]}
	c := w.command(alice, "coin.pay", pay)
	c.ID = got.Transfer
	refusedAs(t, w.send(c), "id_reused")

	next := w.command(machine.Caller{Actor: "operator"}, "coin.import", w.lines("issuance>Alice 60"))
	sum := sha256.Sum256(append([]byte("carecircle page v1"), next.ID[:]...))
	c = w.command(alice, "coin.pay", pay)
	c.ID = machine.ID(ledger.NewSeries([14]byte(sum[:14])).ID(700))
	if out := w.send(c); out.Refusal != nil {
		t.Fatal(out.Refusal)
	}
	refusedAs(t, w.send(next), "id_reused")
	w.audit()
}

func TestImportRefusals(t *testing.T) {
	w := importTown(t)
	for _, c := range []struct{ by, code, says string }{
		{"operator", "import_refused", "6 of the 9 lines"},
		{"operator", "import_refused", "\nLine 2: Ben has 0 coins. Giving 15 coins would leave -15"},
		{"operator", "import_refused", "\nLine 3: "},
		{"operator", "import_refused", "\nLine 4: Coins are given by the circle"},
		{"operator", "import_refused", "\nLine 6: Coins to and from another circle"},
		{"operator", "import_refused", "\nLine 7: There is no place"},
		{"operator", "import_refused", "\nLine 8: This lies in the future"},
		{"Farida", "not_allowed", "Only the operator"},
	} {
		out := w.do(c.by, "coin.import", w.lines("issuance>Alice 600", "Ben>Cathy 900", "Alice>p-nobody 60",
			"Alice>issuance 60", "Alice>Ben 60", "circle/x>Ben 60", "Alice>place/hall 5",
			"Alice>Ben 5 99999999999999", "Ben>Cathy 300"))
		refusedAs(t, out, c.code)
		if !strings.Contains(out.Refusal.Message, c.says) {
			t.Errorf("%s: %v, want %q", c.by, out.Refusal, c.says)
		}
	}
	for _, c := range []struct {
		says  string
		lines coin.Import
	}{
		{"There are 0 transfers", w.lines()},
		{"Line 1: From and to are the same.", w.lines("Alice>Alice 5")},
		{"Line 2: The amount must be more than nothing.", w.lines("Alice>Ben 5", "Alice>Ben 0")},
		{"out of bounds", w.lines(slices.Repeat([]string{"Alice>Ben 1"}, coin.MaxImport+1)...)},
	} {
		out := w.do("operator", "coin.import", c.lines)
		if out.Refusal == nil || !strings.Contains(out.Refusal.Message, c.says) {
			t.Errorf("%+v, want %q", out.Refusal, c.says)
		}
	}
	w.audit()
}

// TestImportsAreAsPosts plays random imports, payments and undoings, and wants every row of the books to be
// the same as in a store that keeps each by itself.
func TestImportsAreAsPosts(t *testing.T) {
	w := importTown(t)
	w.must("operator", "coin.import",
		w.lines("issuance>Alice 3000", "issuance>Ben 3000", "issuance>Cathy 3000"))
	names := []string{"Alice", "Ben", "Cathy", "pool", "place/shed"}
	dice := rand.New(rand.NewPCG(1, 2))
	done := 0
	for range 60 {
		switch dice.IntN(4) {
		case 0:
			w.do("Alice", "coin.pay", coin.Pay{To: w.people["Ben"], Minutes: 1, Activity: "a lift"})
		case 1:
			head := coin.ReadBooks(w.kv).Head()
			e, _ := coin.ReadBooks(w.kv).Entry(1 + dice.Uint64N(head))
			if e.Transfer != nil {
				of := machine.ID(e.Transfer.ID)
				w.do("operator", "coin.reverse", coin.Reverse{Transfer: of, Why: machine.Text("", "error")})
			}
		default:
			var lines []string
			for range 1 + dice.IntN(20) {
				from := dice.IntN(len(names))
				to := (from + 1 + dice.IntN(len(names)-1)) % len(names)
				lines = append(lines, fmt.Sprintf("%s>%s %d", names[from], names[to], 1+dice.IntN(9)))
			}
			if w.do("operator", "coin.import", w.lines(lines...)).Refusal == nil {
				done++
			}
		}
	}
	if done < 10 {
		t.Fatalf("only %d imports were done", done)
	}
	w.audit() // replays every entry as one of its own, and compares all lines and records
	var walked, want []uint64
	books := coin.ReadBooks(w.kv)
	for e := range coin.Entries(w.kv, 3) {
		walked = append(walked, e.Seq)
		if got, ok := books.Entry(e.Seq); !ok || got.Op != e.Op {
			t.Errorf("entry %d is not as walked", e.Seq)
		}
	}
	for seq := uint64(3); seq <= books.Head(); seq++ {
		want = append(want, seq)
	}
	if !slices.Equal(walked, want) {
		t.Errorf("the walk shows %v of %d entries", walked, books.Head())
	}
}

func TestTransfersAsJSON(t *testing.T) {
	var got coin.Transfers
	text := `[ ["b","a",5] ,["a","c",60,7]]`
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	var want coin.Transfers
	want.Add("b", "a", 5, 0)
	want.Add("a", "c", 60, 7)
	a, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(want)
	if err != nil || string(a) != string(b) || string(a) != `[["b","a",5],["a","c",60,7]]` {
		t.Errorf("%s and %s: %v", a, b, err)
	}
	long := "[" + strings.Repeat(`["a","b",1],`, coin.MaxImport) + `["a","b",1]]`
	if err := json.Unmarshal([]byte(long), new(coin.Transfers)); err == nil ||
		!strings.Contains(err.Error(), "more than 1000") {
		t.Errorf("too many: %v", err)
	}
	for _, text := range []string{
		`{}`, `[1]`, `["a"]`, `[["a","b"]]`, `[["a","b","c"]]`, `[["a","b",1.5]]`, `[["a","b",1,2,3]]`,
		`[["a",1,1]]`,
		`[["a","b",1e3]]`, `[["\u0061","b",1]]`, `[["a","b",-1]]`, `[["a","b",99999999999999999999]]`,
	} {
		if err := json.Unmarshal([]byte(text), new(coin.Transfers)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
