package sim

import (
	"slices"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/ledger"
	"github.com/fxamacker/cbor/v2"
)

const dayMillis = 24 * 60 * 60 * 1000

// books are the auditor's: written apart from the rules, from commands and letters alone, in the plainest
// way. For every command they say by themselves whether it is to be refused, and keep every balance.
type books struct {
	t        *town
	judged   int // log entries
	at       int64
	seen     map[machine.ID]machine.Command
	founder  string
	active   map[string]bool
	links    map[machine.Hash]string
	policy   *coin.SetPolicy
	accounts map[string]*account
	opened   []string // in this command
	earned   map[workday]int64
	welcomed map[string]bool
	wishes   map[string]string
	acts     map[machine.ID]*act
	codes    map[string]string // code: person
	peers    map[string]*ally
	life     courier.Nonce
	leaving  map[string]bool
	gone     map[string]bool   // to another circle
	arrivals map[string]string // circle and move: who they are here
	papers   map[uint64]*roundBook
}

type account struct {
	posted, out, in, floor, ceiling int64
	frozen                          bool
}

type act struct {
	from, to string
	minutes  int64
	final    bool // a reversal, reversed, or to another circle
	day      workday
}

// workday is one person's day, as far as coins were earned on it.
type workday struct {
	person string
	day    int64
}

func newBooks(t *town) *books {
	return &books{
		t: t, seen: map[machine.ID]machine.Command{}, active: map[string]bool{},
		links: map[machine.Hash]string{}, accounts: map[string]*account{}, earned: map[workday]int64{},
		welcomed: map[string]bool{}, wishes: map[string]string{}, acts: map[machine.ID]*act{},
		codes: map[string]string{}, peers: map[string]*ally{}, leaving: map[string]bool{},
		gone:     map[string]bool{},
		arrivals: map[string]string{}, papers: map[uint64]*roundBook{},
	}
}

// follow takes the next log entry and compares the circle's answer with its own.
func (b *books) follow(raw []byte, out machine.Outcome) {
	b.judged++
	c, err := machine.DecodeCommand(raw)
	if err != nil {
		b.fail("entry %d cannot be read: %v", b.judged, err)
		return
	}
	if first, ok := b.seen[c.ID]; ok {
		same := first.Kind == c.Kind && first.Caller == c.Caller && slices.Equal(first.Body, c.Body)
		if !out.Repeated || !same && out.Refusal == nil {
			b.fail("entry %d (%s) has an id that was used before, and was done", b.judged, c.Kind)
		}
		return
	}
	if codeOf(out) != "not_heard" && codeOf(out) != "busy" { // refused for now only
		b.seen[c.ID] = c
	}
	b.at = max(b.at, c.At)
	b.opened = b.opened[:0]
	done := b.decide(c, out)
	if !done {
		for _, id := range b.opened {
			delete(b.accounts, id)
		}
	}
	if done != (out.Refusal == nil) || out.Repeated {
		b.fail("entry %d (%s) is to be done: %v; the circle says %s", b.judged, c.Kind, done, codeOf(out))
	}
}

// fail tells of a fault, unless a rule is off that the auditor goes by: others are to notice that. A liar
// cannot be audited: what it has lied about comes back as its own, when it was put back to an older copy.
func (b *books) fail(format string, args ...any) {
	if b.t.s.lawless() || b.t == b.t.s.liar {
		return
	}
	b.t.s.fail("auditor", b.t.name+": "+format, args...)
}

// body decodes a command's body.
func body[B any](b *books, c machine.Command) (v B) {
	if err := cbor.Unmarshal(c.Body, &v); err != nil {
		b.fail("body of %s: %v", c.Kind, err)
	}
	return v
}

// decide does a command and tells whether it is to be done at all.
func (b *books) decide(c machine.Command, out machine.Outcome) bool {
	mayLead := c.Actor == machine.ActorOperator || c.Actor == b.founder && b.active[c.Actor]
	switch c.Kind {
	case "member.enter": // by a link that may be used up
		return out.Refusal == nil && b.setUp(c)
	case "member.found", "member.invite", "member.link":
		return b.setUp(c)
	case "coin.policy", "coin.place", "exchange.meet":
		return b.furnish(c)
	case "coin.earn", "coin.welcome", "coin.freeze", "coin.reverse":
		return mayLead && b.duty(c)
	case "coin.pay", "coin.give", "coin.autogift":
		return b.active[c.Actor] && b.atHome(c)
	case "exchange.ally":
		return mayLead && b.ally(body[exchange.Ally](b, c))
	case "exchange.code":
		code := body[exchange.SetCode](b, c).Code
		if !b.active[c.Actor] || b.codes[code] != "" {
			return false
		}
		for old, person := range b.codes {
			if person == c.Actor {
				delete(b.codes, old)
			}
		}
		b.codes[code] = c.Actor
		return true
	case "exchange.pay":
		return b.active[c.Actor] && b.payAbroad(c, body[exchange.Pay](b, c))
	case "exchange.session", "exchange.receive":
		return b.fromPeer(c, out)
	case "exchange.begin":
		b.life = body[exchange.Begin](b, c).Nx
		return true
	case "exchange.hub", "hub.open", "timeline.open":
		return true
	case "moving.ask", "moving.cancel", "moving.asked", "moving.answered", "moving.delivered":
		return out.Refusal == nil // nobody is anywhere else by it
	case "moving.decide", "moving.packet", "moving.go", "moving.step", "moving.arrived":
		return b.moves(c, out)
	case "netting.consent", "netting.open", "netting.say", "netting.step":
		return out.Refusal == nil // it moves nothing
	case "netting.proposed", "netting.answer", "netting.decided":
		return b.rounds(c, out)
	case "hub.register", "hub.report", "exchange.report":
		return out.Refusal == nil // it moves nothing
	case "exchange.expire", "exchange.welcomed", "exchange.recall", "exchange.verdict":
		return b.byNode(c, out)
	}
	b.fail("does not know %s", c.Kind)
	return false
}

func (b *books) setUp(c machine.Command) bool {
	switch c.Kind {
	case "member.found":
		b.founder = member.PersonID(c.ID)
		b.active[b.founder] = false
	case "member.invite":
		b.active[member.PersonID(c.ID)] = false
	case "member.link":
		l := body[member.Link](b, c)
		b.links[l.Link] = l.Person
	case "member.enter":
		b.active[b.links[body[member.Enter](b, c).Link]] = true
	}
	return true
}

func (b *books) furnish(c machine.Command) bool {
	switch c.Kind {
	case "coin.policy":
		p := body[coin.SetPolicy](b, c)
		b.policy = &p
		b.accounts[coin.Issuance] = &account{floor: -ledger.Unlimited}
		b.accounts[coin.Pool] = &account{ceiling: ledger.Unlimited}
	case "coin.place":
		b.accounts["place/"+body[coin.AddPlace](b, c).Place] = &account{ceiling: ledger.Unlimited}
	}
	return true
}

// person opens the account of somebody known.
func (b *books) person(id string) bool {
	if _, known := b.active[id]; !known {
		return false
	}
	if b.accounts[id] == nil {
		b.accounts[id] = &account{floor: b.policy.FloorMinutes, ceiling: ledger.Unlimited}
		b.opened = append(b.opened, id)
	}
	return true
}

// room tells whether coins can go from one account to another.
func (b *books) room(from, to string, minutes int64) bool {
	f, t := b.accounts[from], b.accounts[to]
	return f != nil && t != nil && f != t && !f.frozen && !t.frozen &&
		f.posted-f.out-minutes >= f.floor && t.posted+t.in+minutes <= t.ceiling
}

func (b *books) move(from, to string, minutes int64) bool {
	if !b.room(from, to, minutes) {
		return false
	}
	b.accounts[from].posted -= minutes
	b.accounts[to].posted += minutes
	return true
}

// record moves coins and keeps the act, so that it can be undone.
func (b *books) record(id machine.ID, from, to string, minutes int64) bool {
	if b.acts[id] != nil || !b.move(from, to, minutes) { // an id may come back from a peer after a restore
		return false
	}
	b.acts[id] = &act{from: from, to: to, minutes: minutes}
	return true
}

func (b *books) duty(c machine.Command) bool {
	switch c.Kind {
	case "coin.earn":
		e := body[coin.Earn](b, c)
		day := workday{e.Person, b.at / dayMillis}
		if !b.person(e.Person) || b.earned[day]+e.Minutes > b.policy.EarnDayMinutes ||
			!b.record(c.ID, coin.Issuance, e.Person, e.Minutes) {
			return false
		}
		b.earned[day] += e.Minutes
		b.acts[c.ID].day = day
		if wish := b.wishes[e.Person]; wish != "" {
			b.move(e.Person, wish, e.Minutes) // if it can be
		}
		return true
	case "coin.welcome":
		p := body[coin.Welcome](b, c).Person
		if !b.person(p) || b.welcomed[p] || !b.record(c.ID, coin.Pool, p, b.policy.WelcomeMinutes) {
			return false
		}
		b.welcomed[p] = true
		return true
	case "coin.freeze":
		f := body[coin.Freeze](b, c)
		a := b.accounts[f.Account]
		if a == nil || a.frozen == f.Frozen {
			return false
		}
		a.frozen = f.Frozen
		return true
	default:
		of := b.acts[body[coin.Reverse](b, c).Transfer]
		if of == nil || of.final || !b.record(c.ID, of.to, of.from, of.minutes) {
			return false
		}
		of.final, b.acts[c.ID].final = true, true
		b.earned[of.day] = max(b.earned[of.day]-of.minutes, 0)
		return true
	}
}

func (b *books) atHome(c machine.Command) bool {
	switch c.Kind {
	case "coin.pay":
		p := body[coin.Pay](b, c)
		return p.To != c.Actor && b.person(c.Actor) && b.person(p.To) &&
			b.record(c.ID, c.Actor, p.To, p.Minutes)
	case "coin.give":
		g := body[coin.Give](b, c)
		known := g.To == coin.Pool || g.To == placeAccount || b.person(g.To)
		return g.To != c.Actor && known && b.person(c.Actor) && b.record(c.ID, c.Actor, g.To, g.Minutes)
	default:
		to := body[coin.AutoGift](b, c).To
		if to != "" && to != coin.Pool && to != placeAccount {
			return false
		}
		b.wishes[c.Actor] = to
		return true
	}
}
