package circle_test

import (
	"cmp"
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// text is something personal that somebody typed.
func text(words string) machine.Private { return machine.Text("", words) }

// stage is a circle in which everything there is has happened once, for the tests of refusals: two others
// known, one of them an ally, a place, a stopped account, an advocate, a passkey, a session and a payment
// on its way.
type stage struct {
	hb, bh, td *town
	md         *town      // owes hb
	earned     machine.ID // an act of Alice's that can be undone
	abroad     machine.ID // one that cannot
	session    courier.Nonce
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{
		hb: newTown(t, "Hebden Bridge"), bh: newTown(t, "Blackshaw Head"), td: newTown(t, "Todmorden"),
	}
	hb, bh := s.hb, s.bh
	hb.found("Farida")
	bh.found("Orla")
	s.td.found("Tess")
	for _, name := range []string{"Alice", "Norah", "Ben", "Dev", "Gone"} {
		hb.join(name)
	}
	hb.must("node", "member.vault", member.SetVault{Version: 1, Mark: secret("vault")})
	hb.must("Gone", "member.erase", member.Erase{Person: hb.people["Gone"]})
	bh.join("Irene")
	zed := hb.must("Farida", "member.invite", member.Invite{
		Name: machine.Text("", "Zed"), Link: secret("zed"), Until: hb.now + 20*day,
	})
	hb.people["Zed"] = zed.Result.(member.Made).Person
	hb.must("Farida", "member.link", member.Link{
		Person: hb.people["Ben"], Link: secret("short"), Until: hb.now + 1e6,
	})
	for _, pair := range [][2]*town{{hb, bh}, {bh, hb}, {hb, s.td}} {
		pair[0].must("operator", "exchange.meet", exchange.Meet{Card: pair[1].card()})
	}
	hb.must("Farida", "exchange.ally", exchange.Ally{
		Circle: string(bh.id), LimitMinutes: 600, ReviewOn: "2026-09-30",
	})
	bh.must("Orla", "exchange.ally", exchange.Ally{
		Circle: string(hb.id), LimitMinutes: 600, ReviewOn: "2026-09-30",
	})
	settle(t, hb, bh)
	hb.must("Farida", "coin.place", coin.AddPlace{Place: "hall", Name: "Village hall"})
	hb.must("Alice", "exchange.code", exchange.SetCode{Code: "ALICE222"})
	s.earned = hb.must("operator", "coin.earn", coin.Earn{
		Person: hb.people["Alice"], Minutes: 600, Activity: "garden",
	}).Result.(coin.Moved).Transfer
	for range 2 {
		earnOf(hb, "Farida", 6, "office")
	}
	hb.must("Farida", "coin.give", coin.Give{To: "pool", Minutes: 720})
	hb.must("Farida", "coin.welcome", coin.Welcome{Person: hb.people["Ben"]})
	hb.now += 2 * day
	earnOf(hb, "Farida", 10, "office")
	hb.must("Farida", "coin.give", coin.Give{To: "pool", Minutes: 600})
	hb.must("operator", "coin.earn", coin.Earn{Person: hb.people["Dev"], Minutes: 60, Activity: "garden"})
	hb.must("Farida", "coin.freeze", coin.Freeze{
		Account: hb.people["Dev"], Frozen: true, Why: text("to look"),
	})
	hb.must("Norah", "member.acting-allow", member.AllowActing{
		Person: hb.people["Norah"], Advocate: hb.people["Ben"], Kinds: []string{"coin"}, Until: hb.now + day,
	})
	hb.must("node", "member.passkey-add", member.AddPasskey{
		Person: hb.people["Alice"], ID: []byte("key"), Name: text("telephone"), Stored: text("stored"),
	})
	hb.must("node", "member.signin", member.OpenSession{
		Person: hb.people["Alice"], Passkey: []byte("key"), Session: secret("alice's"), Until: hb.now + day,
	})
	oweAbout(t, s)
	s.abroad = hb.must("Alice", "exchange.pay", exchange.Pay{
		Circle: string(bh.id), Code: "IRENE222", Minutes: 60,
	}).Result.(exchange.Paid).Payment
	beginLife(t, s)
	addReplicas(s)
	beFound(s)
	aboutToMove(s)
	s.proposes(t, paperOf(t, s.td, 1, 30, hb, bh, s.md))
	aboutToJoin(s)
	return s
}

// once applies a command to a copy of the state, so that cases do not meet; what is refused must change
// nothing, say why in a sentence, and say the same when asked again.
func once(t *testing.T, w *town, c machine.Command) machine.Outcome {
	t.Helper()
	kv := machine.NewMem()
	machine.Copy(kv, w.kv)
	raw, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	before, meta := machine.StateHash(kv), machine.ReadMeta(kv)
	out, err := w.m.Apply(kv, raw)
	if err != nil {
		t.Fatalf("the replica stops: %v", err)
	}
	again, err := w.m.Apply(kv, raw)
	if err != nil || !again.Repeated || !reflect.DeepEqual(again.Refusal, out.Refusal) ||
		!reflect.DeepEqual(again.Result, out.Result) {
		t.Errorf("answered %+v, and asked again %+v (%v)", out, again, err)
	}
	if at := machine.ReadMeta(kv); at.Position != meta.Position+1 {
		t.Errorf("the journal went from %d to %d", meta.Position, at.Position)
	}
	if out.Refusal == nil {
		return out
	}
	if machine.StateHash(kv) != before {
		t.Errorf("refused with %s, and changed the state", out.Refusal.Code)
	}
	if machine.ReadMeta(kv).Events != meta.Events || out.Result != nil {
		t.Errorf("refused with %s, and told of something done", out.Refusal.Code)
	}
	checkWording(t, out.Refusal)
	return out
}

// checkWording wants a code for programs and a sentence for people.
func checkWording(t *testing.T, e *machine.Error) {
	t.Helper()
	if e.Code == "" || e.Code == "refused" || strings.Trim(e.Code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		t.Errorf("code %q of %q", e.Code, e.Message)
	}
	if len(e.Message) < 10 || len(e.Message) > 500 || !strings.HasSuffix(e.Message, ".") ||
		!utf8.ValidString(e.Message) {
		t.Errorf("%s: message %q is no sentence", e.Code, e.Message)
	}
}

// TestEveryKindRefusesWithoutATrace has, for every kind there is, one good command and at least one that is
// refused for what it asks. A new kind fails here until it has its cases.
func TestEveryKindRefusesWithoutATrace(t *testing.T) {
	s := newStage(t)
	cases := refusalCases(t, s)
	var kinds []string
	for _, r := range s.hb.m.Rules() {
		kinds = append(kinds, r.Kind)
	}
	kinds = slices.Compact(kinds)
	for _, kind := range kinds {
		c, ok := cases[kind]
		if !ok || len(c.refused) == 0 {
			t.Errorf("%s has no case here: add a good command and what it refuses", kind)
			continue
		}
		t.Run(kind, func(t *testing.T) { playKind(t, s, kind, c) })
	}
	for kind := range cases {
		if !slices.Contains(kinds, kind) {
			t.Errorf("%s is not a kind any more: kinds are never taken away", kind)
		}
	}
}

// asked is one thing asked of a kind.
type asked struct {
	by, behalf string
	body       any
	code       string // of the refusal
}

type kindCase struct {
	empty   bool  // on a circle not founded yet
	at      *town // nil: the stage's circle
	good    asked
	refused []asked
}

func (s *stage) caller(a asked) machine.Caller {
	name := func(n string) string {
		if id, ok := s.hb.people[n]; ok {
			return id
		}
		return n
	}
	return machine.Caller{Actor: name(a.by), OnBehalfOf: name(a.behalf)}
}

func playKind(t *testing.T, s *stage, kind string, c kindCase) {
	w := cmp.Or(c.at, s.hb)
	w.t = t
	if c.empty {
		good := newTown(t, "Hebden Bridge")
		if out := once(t, good, good.command(s.caller(c.good), kind, c.good.body)); out.Refusal != nil {
			t.Errorf("the good one is refused: %s: %s", out.Refusal.Code, out.Refusal.Message)
		}
	} else if out := once(t, w, w.command(s.caller(c.good), kind, c.good.body)); out.Refusal != nil {
		t.Errorf("the good one is refused: %s: %s", out.Refusal.Code, out.Refusal.Message)
	}
	for i, a := range c.refused {
		out := once(t, w, w.command(s.caller(a), kind, a.body))
		if out.Refusal == nil || out.Refusal.Code != a.code {
			t.Errorf("case %d by %s: %+v, want %s", i, a.by, out.Refusal, a.code)
		}
	}
	// Whatever the body, some callers may never do it.
	for _, by := range []machine.Caller{
		{Actor: "pnobody"},
		{Actor: s.hb.people["Zed"]},
		{Actor: machine.PeerActor("cnobody")},
		{Actor: "peer/"},
		{Actor: s.hb.people["Alice"], OnBehalfOf: s.hb.people["Norah"]},
		{Actor: s.hb.people["Alice"], OnBehalfOf: machine.ActorCircle},
		{Actor: s.hb.people["Alice"], OnBehalfOf: machine.ActorOperator},
		{Actor: s.hb.people["Alice"], OnBehalfOf: machine.ActorNode},
		{Actor: s.hb.people["Alice"], OnBehalfOf: machine.PeerActor(string(s.bh.id))},
		{Actor: s.hb.people["Alice"], OnBehalfOf: "nobody"},
		{Actor: machine.ActorOperator, OnBehalfOf: s.hb.people["Alice"]},
		{Actor: machine.ActorNode, OnBehalfOf: s.hb.people["Alice"]},
		{Actor: machine.ActorNode, OnBehalfOf: machine.ActorNode},
	} {
		if out := once(t, w, w.command(by, kind, c.good.body)); out.Refusal == nil {
			t.Errorf("%+v did it", by)
		}
	}
	badBodies(t, s, kind, c)
}

// badBodies sends what is not a body of the kind at all. It is refused before it enters the log, and also
// where it got into the log.
func badBodies(t *testing.T, s *stage, kind string, c kindCase) {
	w := cmp.Or(c.at, s.hb)
	caller := s.caller(c.good)
	for _, bad := range []string{
		"63616263", "01", "80", "f5", "fb3ff0000000000000", "a1186363616263", "a10101a10101",
		"a2010101f6", "bf01f6ff", "c101", "a101", "ff", "", "a10180808080", "5f42010243030405ff",
	} {
		raw, err := hex.DecodeString(bad)
		if err != nil {
			t.Fatal(err)
		}
		cmd := w.command(caller, kind, c.good.body)
		cmd.Body = raw
		err = w.m.Check(cmd)
		if err == nil {
			continue // it happens to be one: such as an empty array for an empty body
		}
		checkWording(t, machine.AsError(err))
		if cbor.Wellformed(raw) != nil {
			continue
		}
		enc, err := cmd.Encode()
		if err == nil {
			_, err = machine.DecodeCommand(enc)
		}
		if err != nil {
			continue // refused for its encoding: it cannot be in a log
		}
		if out := once(t, w, cmd); out.Refusal == nil {
			t.Errorf("body %s was taken", bad)
		}
	}
	large, err := cbor.Marshal(make([]byte, machine.MaxCommandBytes))
	if err != nil {
		t.Fatal(err)
	}
	cmd := w.command(caller, kind, c.good.body)
	for want, change := range map[string]func(*machine.Command){
		"actor_reserved": func(c *machine.Command) { c.Actor = machine.ActorCircle },
		"id_missing":     func(c *machine.Command) { c.ID = machine.ID{} },
		"not_allowed":    func(c *machine.Command) { c.OnBehalfOf = "p\x00" },
		"unknown_kind":   func(c *machine.Command) { c.Kind += "x" },
		"too_large":      func(c *machine.Command) { c.Body = large },
	} {
		changed := cmd
		change(&changed)
		err := w.m.Check(changed)
		if err == nil || machine.AsError(err).Code != want {
			t.Errorf("Check: %v, want %s", err, want)
			continue
		}
		checkWording(t, machine.AsError(err))
	}
}

// records makes letters from Blackshaw Head as its next to Hebden Bridge.
func (s *stage) records(change func(*letter.Record)) []letter.Signed {
	held := uint64(0)
	for _, p := range exchange.Peers(s.hb.kv) {
		if p.Circle == s.bh.id {
			held = p.Held.Seq
		}
	}
	raw := exchange.Outbox(s.bh.kv, s.hb.id, held, held)
	r, err := letter.Decode(raw[0])
	if err != nil {
		s.hb.t.Fatal(err)
	}
	if change != nil {
		change(&r)
	}
	b, err := letter.Marshal(r)
	if err != nil {
		s.hb.t.Fatal(err)
	}
	return []letter.Signed{letter.Sign(s.bh.key, b)}
}
