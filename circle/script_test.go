package circle_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/ledger"
)

// story runs one script: circles by short names, letters between them carried by hand.
type story struct {
	t        *testing.T
	towns    []*town
	sessions map[string]courier.Nonce // FROM to TO, by the name the script gives
	labels   map[string]machine.Command
}

var fullNames = map[string]string{
	"hb": "Hebden Bridge", "bh": "Blackshaw Head", "td": "Todmorden", "mr": "Mytholmroyd",
}

// TestStories runs every testdata/*.txt of every feature. Run it with -rewrite to write the results anew.
//
//	found CIRCLE by=NAME people=(NAME,...)   a new circle with a coin policy (unless nopolicy)
//	CIRCLE                                   commands, one a line: ACTOR[/FOR] VERB ARGUMENTS
//	ally A B coins=N                         two circles meet and agree on a limit
//	settle A B                               letters both ways until there are none
//	open A B as=S                            A opens a session with B
//	batch A B in=S letters=(1,2) [forge=HOW] B gets letters of A's stream, or forged ones
//	wait 40d                                 time passes everywhere
//	balances A, alliances A, payments A by=NAME, statement A by=NAME [of=ACCOUNT], journey A by=NAME,
//	events A by=NAME, epochs A by=NAME       what is to be seen
//
// After each script every book is audited, and every log replayed from empty and from half way.
func TestStories(t *testing.T) {
	paths, err := filepath.Glob("*/testdata/*.txt")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d scripts: %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.ReplaceAll(strings.TrimSuffix(path, ".txt"), "/testdata", ""), func(t *testing.T) {
			s := &story{t: t, sessions: map[string]courier.Nonce{}, labels: map[string]machine.Command{}}
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				s.t = t
				for _, w := range s.towns {
					w.t = t
				}
				return s.names(s.directive(d))
			})
			s.finish()
		})
	}
}

// finish is what every story has to pass at its end.
func (s *story) finish() {
	for _, w := range s.towns {
		w.t = s.t
		report, err := ledger.Audit(coin.ReadBooks(w.kv))
		if err != nil || len(report.Findings) > 0 {
			s.t.Errorf("%s: audit: %v", w.name, err)
		}
		replayEqual(s.t, w)
	}
}

func (s *story) town(short string) *town {
	s.t.Helper()
	i := slices.IndexFunc(s.towns, func(w *town) bool { return w.name == fullNames[short] })
	if i < 0 {
		s.t.Fatalf("there is no circle %q in this story yet", short)
	}
	return s.towns[i]
}

// names puts names where ids stand, so that a story can be read.
func (s *story) names(text string) string {
	var pairs []string
	for short, full := range fullNames {
		for _, w := range s.towns {
			if w.name == full {
				pairs = append(pairs, string(w.id), short)
			}
		}
	}
	for _, w := range s.towns {
		for name, id := range w.people {
			pairs = append(pairs, id, "@"+name)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func (s *story) directive(d *datadriven.TestData) string {
	switch d.Cmd {
	case "found":
		return s.found(d)
	case "ally":
		return s.ally(d)
	case "settle":
		settle(s.t, s.town(word(d, 0)), s.town(word(d, 1)))
		return "ok"
	case "open":
		return s.open(d)
	case "batch":
		return s.batch(d)
	case "letters":
		return s.letters(s.town(word(d, 0)), s.town(word(d, 1)))
	case "wait":
		days := 0
		if _, err := fmt.Sscanf(word(d, 0), "%dd", &days); err != nil {
			s.t.Fatal(err)
		}
		for _, w := range s.towns {
			w.now += int64(days) * 24 * time.Hour.Milliseconds()
		}
		return "ok"
	case "balances", "alliances", "payments", "statement", "journey", "events", "list", "epochs":
		return s.show(d)
	}
	w := s.town(d.Cmd)
	var out []string
	for line := range strings.Lines(d.Input) {
		out = append(out, s.line(w, fields(strings.TrimSpace(line))))
	}
	return strings.Join(out, "\n")
}

// word is the nth argument that has no value.
func word(d *datadriven.TestData, n int) string {
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			if n == 0 {
				return a.Key
			}
			n--
		}
	}
	return ""
}

func values(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}

func value(d *datadriven.TestData, key string) string {
	if v := values(d, key); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (s *story) found(d *datadriven.TestData) string {
	w := newTown(s.t, fullNames[word(d, 0)])
	s.towns = append(s.towns, w)
	founder := value(d, "by")
	if d.HasArg("nopolicy") {
		w.start(founder)
	} else {
		w.found(founder)
	}
	for _, name := range values(d, "people") {
		w.join(name)
	}
	return "ok"
}

func (s *story) ally(d *datadriven.TestData) string {
	a, b := s.town(word(d, 0)), s.town(word(d, 1))
	a.must("operator", "exchange.meet", exchange.Meet{Card: b.card()})
	b.must("operator", "exchange.meet", exchange.Meet{Card: a.card()})
	coins := number(s.t, value(d, "coins"))
	a.must("operator", "exchange.ally", exchange.Ally{
		Circle: string(b.id), LimitMinutes: coins, ReviewOn: "2026-09-30",
	})
	deliver(s.t, a, b)
	b.must("operator", "exchange.ally", exchange.Ally{
		Circle: string(a.id), LimitMinutes: coins, ReviewOn: "2026-09-30",
	})
	settle(s.t, a, b)
	return "ok"
}

func (s *story) open(d *datadriven.TestData) string {
	from, to := s.town(word(d, 0)), s.town(word(d, 1))
	nonce := courier.Nonce(from.fresh())
	s.sessions[value(d, "as")] = nonce
	out := to.send(to.command(peerCaller(from), "exchange.session", exchange.Session{Nx: nonce, Ny: nonce}))
	if out.Refusal != nil {
		return refusal(out)
	}
	held := out.Result.(exchange.Welcomed).Held.Seq
	return fmt.Sprintf("%s holds %d of %d", shortOf(to), held, len(exchange.Outbox(from.kv, to.id, 1, 1<<40)))
}

func peerCaller(from *town) machine.Caller {
	return machine.Caller{Actor: machine.PeerActor(string(from.id))}
}

func shortOf(w *town) string {
	for short, full := range fullNames {
		if full == w.name {
			return short
		}
	}
	return w.name
}

// batch hands letters of from's stream to the other circle, by their places in it.
func (s *story) batch(d *datadriven.TestData) string {
	from, to := s.town(word(d, 0)), s.town(word(d, 1))
	nonce := s.sessions[value(d, "in")]
	var signed []letter.Signed
	for _, v := range values(d, "letters") {
		seq := uint64(number(s.t, v) / 60)
		raw := exchange.Outbox(from.kv, to.id, seq, seq)
		if len(raw) == 0 {
			s.t.Fatalf("%s has no letter %d", from.name, seq)
		}
		signed = append(signed, s.forged(d, from, to, letter.Sign(from.key, raw[0])))
	}
	batch := exchange.Receive{Nx: nonce, Ny: nonce, Records: signed}
	out := to.send(to.command(peerCaller(from), "exchange.receive", batch))
	if out.Refusal != nil {
		return refusal(out)
	}
	got := out.Result.(exchange.Received)
	if got.Frozen != "" {
		return fmt.Sprintf("held %d, stopped: %s", got.Held.Seq, got.Frozen)
	}
	return fmt.Sprintf("held %d", got.Held.Seq)
}

func refusal(out machine.Outcome) string {
	text := "refused " + out.Refusal.Code + ": " + out.Refusal.Message
	if out.Refusal.Because != "" {
		text += " (because of: " + out.Refusal.Because + ")"
	}
	if out.Repeated {
		text = "again: " + text
	}
	return text
}

// letters lists a stream by kind.
func (s *story) letters(from, to *town) string {
	var out []string
	for i, raw := range exchange.Outbox(from.kv, to.id, 1, 1<<40) {
		r, err := letter.Decode(raw)
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d %s", i+1, r.Kind))
	}
	return strings.Join(out, "\n")
}

// fields splits a line at spaces, except within quotes.
func fields(line string) []string {
	var out []string
	var field strings.Builder
	quoted, begun := false, false
	for _, r := range line + " " {
		switch {
		case r == '"':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			if begun {
				out = append(out, field.String())
			}
			field.Reset()
			begun = false
		default:
			field.WriteRune(r)
			begun = true
		}
	}
	return out
}

func TestFields(t *testing.T) {
	got := fields(`Alice pay Dev 1 "a lift" note="for you" ""`)
	want := []string{"Alice", "pay", "Dev", "1", "a lift", "note=for you", ""}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// number reads coins, such as 2.5, as minutes.
func number(t tester, text string) int64 {
	var coins float64
	if _, err := fmt.Sscanf(text, "%g", &coins); err != nil {
		t.Fatalf("%q is no number of coins: %v", text, err)
	}
	return int64(coins * 60)
}
