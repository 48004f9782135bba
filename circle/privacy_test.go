package circle_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// canary is a word that stands in one place of one person's data. Where it shows, that data shows.
type canary struct {
	name, word string
	readers    []string // who may ever see it; nil: it is shown in the matrix, without a law here
}

// reader is one kind of person or machine that reads.
type reader struct{ name, actor, behalf string }

// private is a circle in which Una chose not to be seen and not to be named, and did everything there is.
type private struct {
	hb       *town
	readers  []reader
	canaries []canary
	gift     machine.ID
}

func newPrivate(t *testing.T) *private {
	t.Helper()
	hb, bh := newTown(t, "Hebden Bridge"), newTown(t, "Blackshaw Head")
	hb.found("Farida")
	bh.found("Orla")
	for _, name := range []string{"CANARY-UNA", "Sef", "Ben", "Alice"} {
		hb.join(name)
	}
	hb.people["Una"] = hb.people["CANARY-UNA"]
	bh.join("Irene")
	bh.must("Irene", "exchange.code", exchange.SetCode{Code: "IRENE222"})
	hb.people["Zed"] = hb.must("Farida", "member.invite", member.Invite{
		Name: machine.Text("", "Zed"), Link: secret("zed"), Until: hb.now + day,
	}).Result.(member.Made).Person
	pair := &story{t: t, towns: []*town{hb, bh}}
	pair.allyBy(hb, bh, 600)
	hb.must("Sef", "member.choose", member.Choose{Name: machine.Text("", "Sef"), Seen: true, Journey: true})
	p := &private{hb: hb}
	p.live(bh)
	settle(t, hb, bh)
	p.endUp()
	p.readers, p.canaries = p.everyReader(), p.laws()
	return p
}

// live does everything of Una's that leaves a trace, with a canary in every place that could show.
func (p *private) live(bh *town) {
	hb, una := p.hb, p.hb.people["Una"]
	hb.must("Farida", "coin.place", coin.AddPlace{Place: "hall", Name: "Village hall"})
	hb.must("Una", "member.acting-allow", member.AllowActing{
		Person: una, Advocate: hb.people["Ben"], Evidence: machine.Text("", "CANARY-EVIDENCE"),
	})
	hb.must("node", "member.passkey-add", member.AddPasskey{
		Person: una, ID: []byte("key"), Name: machine.Text("", "CANARY-DEVICE"),
		Stored: machine.Text("", "CANARY-STORED"),
	})
	hb.must("node", "member.signin", member.OpenSession{
		Person: una, Passkey: []byte("key"), Session: secret("una's"), Until: hb.now + day,
	})
	hb.must("Una", "exchange.code", exchange.SetCode{Code: "UNAUNA22"})
	hb.must("operator", "coin.earn", coin.Earn{Person: una, Minutes: 600, Activity: "CANARY-WORK"})
	give := func(to, note, alt string) machine.ID {
		return hb.must("Una", "coin.give", coin.Give{
			To: to, Minutes: 120, Note: machine.Text("", note),
			Picture: &coin.Picture{Data: []byte("\xff\xd8\xff"), Alt: machine.Text("", alt)},
		}).Result.(coin.Moved).Transfer
	}
	p.gift = give(hb.people["Sef"], "CANARY-GIFT", "CANARY-ALT")
	give("pool", "CANARY-POOLGIFT", "CANARY-POOLALT")
	hb.must("Una", "coin.pay", coin.Pay{
		To: hb.people["Sef"], Minutes: 60, Activity: "CANARY-HELP", Note: machine.Text("", "CANARY-PAYNOTE"),
	})
	wrong := hb.must("Una", "coin.pay", coin.Pay{To: hb.people["Sef"], Minutes: 60, Activity: "company"})
	hb.must("Farida", "coin.reverse", coin.Reverse{
		Transfer: wrong.Result.(coin.Moved).Transfer, Why: machine.Text("", "CANARY-REVERSED"),
	})
	hb.must("Una", "exchange.pay", exchange.Pay{
		Circle: string(bh.id), Code: "IRENE222", Minutes: 60,
		Activity: "CANARY-ABROAD", Note: machine.Text("", "CANARY-ABROADNOTE"),
	})
}

// endUp is what comes after the letters: the coins travel on, and Una's account is stopped.
func (p *private) endUp() {
	hb, una := p.hb, p.hb.people["Una"]
	// The coins of the undone act go on to Alice, and those of the gifts to her and to everybody's hall.
	hb.must("Una", "coin.pay", coin.Pay{To: hb.people["Alice"], Minutes: 240, Activity: "errands"})
	hb.must("Sef", "coin.pay", coin.Pay{To: hb.people["Alice"], Minutes: 60, Activity: "errands"})
	hb.must("Alice", "coin.give", coin.Give{To: "place/hall", Minutes: 30})
	hb.must("Farida", "coin.freeze", coin.Freeze{
		Account: una, Frozen: true, Why: machine.Text("", "CANARY-FROZEN"),
	})
	hb.must("Una", "findable.choose", findable.Choose{Card: findable.Choice{Name: "CANARY-CARD"}})
	hb.must("Una", "findable.ask", findable.Ask{
		Circle: bhID(hb), Card: oneID, Words: machine.Text("", "CANARY-ASKS"),
	})
}

// everyReader is everyone who may ask, from a stranger to Una herself.
func (p *private) everyReader() []reader {
	hb, una := p.hb, p.hb.people["Una"]
	return []reader{
		{"stranger", "pnobody", ""},
		{"invited", hb.people["Zed"], ""},
		{"member", hb.people["Alice"], ""},
		{"receiver", hb.people["Sef"], ""},
		{"una", una, ""},
		{"advocate for una", hb.people["Ben"], una},
		{"advocate", hb.people["Ben"], ""},
		{"coordinator", hb.people["Farida"], ""},
		{"operator", "operator", ""},
		{"node", "node", ""},
		{"peer", machine.PeerActor(bhID(hb)), ""},
		{"member for una", hb.people["Alice"], una},
		{"operator for una", "operator", una},
	}
}

// laws says of each canary who may see it.
func (p *private) laws() []canary {
	una := p.hb.people["Una"]
	own := []string{"una", "advocate for una"}
	all := append([]string{"receiver"}, own...)
	return []canary{
		{"name", "CANARY-UNA", append([]string{"advocate", "coordinator", "operator", "node"}, own...)},
		{"device", "CANARY-DEVICE", []string{"una"}},
		{"stored passkey", base64.StdEncoding.EncodeToString([]byte("CANARY-STORED")), []string{"node"}},
		{"evidence", "CANARY-EVIDENCE", own},
		{"code", "UNAUNA22", own},
		{"card abroad", "CANARY-CARD", own},
		{"question abroad", "CANARY-ASKS", own},
		{"why frozen", "CANARY-FROZEN", own},
		{"why reversed", "CANARY-REVERSED", all},
		{"pay note", "CANARY-PAYNOTE", all},
		{"note abroad", "CANARY-ABROADNOTE", own},
		{"gift note", "CANARY-GIFT", nil},
		{"gift picture", "CANARY-ALT", nil},
		{"pool gift note", "CANARY-POOLGIFT", nil},
		{"pool gift picture", "CANARY-POOLALT", nil},
		{"work", "CANARY-WORK", nil},
		{"help", "CANARY-HELP", nil},
		{"help abroad", "CANARY-ABROAD\"", nil},
		{"session", secret("una's").String(), []string{"una"}},
		{"id", una, append([]string{"advocate", "coordinator", "operator", "node"}, own...)},
	}
}

// allyBy makes two towns allies.
func (s *story) allyBy(a, b *town, minutes int64) {
	for _, x := range [][2]*town{{a, b}, {b, a}} {
		x[0].must("operator", "exchange.meet", exchange.Meet{Card: x[1].card()})
		x[0].must("operator", "exchange.ally", exchange.Ally{
			Circle: string(x[1].id), LimitMinutes: minutes, ReviewOn: "2026-09-30",
		})
	}
	settle(s.t, a, b)
}

// query is a view and a question worth asking of it.
type query struct {
	view, words string
	set         func(q any) error
}

func (p *private) queries() []query {
	var out []query
	for _, v := range p.hb.m.Views() {
		out = append(out, query{view: v.Name})
	}
	una := p.hb.people["Una"]
	for _, account := range []string{una, "pool", "place/hall", "issuance", "circle/" + bhID(p.hb)} {
		words := strings.NewReplacer(una, "una", bhID(p.hb), "bh").Replace(account)
		out = append(out, query{"coin.statement", words, func(q any) error {
			q.(*coin.StatementQuery).Account = account
			return nil
		}})
	}
	return append(out,
		query{"coin.picture", "gift to receiver", func(q any) error {
			q.(*coin.PictureQuery).Transfer = p.gift
			return nil
		}},
		query{"member.session", "una's", func(q any) error {
			q.(*member.SessionQuery).Session = secret("una's")
			return nil
		}},
		query{"member.passkeys", "una's", func(q any) error {
			q.(*member.PersonQuery).Person = una
			return nil
		}},
		query{"member.link-state", "zed's", func(q any) error {
			q.(*member.LinkQuery).Link = secret("zed")
			return nil
		}},
	)
}

func bhID(hb *town) string { return string(exchange.Peers(hb.kv)[0].Circle) }

// TestWhoSeesWhat asks every view as every kind of reader. The laws are in private.laws; the whole matrix
// is in testdata/privacy.golden, to be read when it changes.
func TestWhoSeesWhat(t *testing.T) {
	p := newPrivate(t)
	var lines []string
	for _, q := range p.queries() {
		lines = append(lines, strings.TrimSpace(q.view+" "+q.words))
		for _, r := range p.readers {
			by := machine.Caller{Actor: r.actor, OnBehalfOf: r.behalf}
			rd := machine.Read{Reader: p.hb.kv, Caller: by, Now: p.hb.now}
			lines = append(lines, fmt.Sprintf("  %-17s %s", r.name, p.ask(t, q, r, rd)))
		}
	}
	text := strings.Join(lines, "\n") + "\n"
	const path = "testdata/privacy.golden"
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text {
		was := strings.Split(string(want), "\n")
		for i, line := range strings.Split(text, "\n") {
			if i >= len(was) || was[i] != line {
				t.Fatalf("who sees what has changed, from line %d on:\n%s\n"+
					"if that is meant, run with -update", i+1, line)
			}
		}
		t.Fatal("who sees what has changed: lines are gone")
	}
}

// ask reads one view as one reader and names the canaries that show.
func (p *private) ask(t *testing.T, q query, r reader, rd machine.Read) string {
	t.Helper()
	answer, err := p.hb.m.View(rd, q.view, q.set)
	if err != nil {
		e := machine.AsError(err)
		checkWording(t, e)
		for _, c := range p.canaries {
			if strings.Contains(e.Message, c.word) && !strings.Contains(q.words, "una") {
				t.Errorf("%s %s tells %s the %s in a refusal: %s", q.view, q.words, r.name, c.name, e.Message)
			}
		}
		return "refused " + e.Code
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	var shows []string
	for _, c := range p.canaries {
		if !strings.Contains(string(raw), c.word) {
			continue
		}
		shows = append(shows, c.name)
		if c.readers != nil && !slices.Contains(c.readers, r.name) {
			t.Errorf("%s %s shows %s the %s of somebody who chose not to be seen",
				q.view, q.words, r.name, c.name)
		}
	}
	if len(shows) == 0 {
		return "nothing of hers"
	}
	return "sees her " + strings.Join(shows, ", ")
}

// TestNoEventCarriesAName: events go to pages and streams before anyone asks who reads them.
func TestNoEventCarriesAName(t *testing.T) {
	p := newPrivate(t)
	for _, e := range machine.Events(p.hb.kv, 1000, func(machine.Event) bool { return true }) {
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{
			"CANARY-UNA", "CANARY-PAYNOTE", "CANARY-GIFT", "UNAUNA22", "CANARY-EVIDENCE", "CANARY-STORED",
		} {
			if strings.Contains(string(raw), word) {
				t.Errorf("event %s carries %s", raw, word)
			}
		}
		toAll := slices.Contains(e.Audience, machine.AudienceCircle)
		if toAll && strings.Contains(string(raw), "CANARY-FROZEN") {
			t.Errorf("the whole circle hears why: %s", raw)
		}
	}
}
