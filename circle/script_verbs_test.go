package circle_test

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/timeline"
)

const day = 24 * 60 * 60 * 1000

// call is one line of a story: who asks for what.
type call struct {
	s    *story
	w    *town
	args []string          // what has no name
	opts map[string]string // name=value; a bare option is not one
}

// arg is the nth argument, or nothing.
func (c call) arg(n int) string {
	if n < len(c.args) {
		return c.args[n]
	}
	return ""
}

// id is who or what the nth argument names.
func (c call) id(n int) string { return c.named(c.arg(n)) }

func (c call) named(name string) string {
	if id, ok := c.w.people[name]; ok {
		return id
	}
	if short, ok := strings.CutPrefix(name, "circle/"); ok && fullNames[short] != "" {
		return "circle/" + string(c.s.town(short).id)
	}
	return name
}

func (c call) minutes(n int) int64 { return number(c.w.t, c.arg(n)) }

func (c call) has(option string) bool {
	_, ok := c.opts[option]
	return ok
}

// days is an option such as 3d as a time from now; otherwise when it is not given.
func (c call) days(option string, otherwise int64) int64 {
	n := int64(0)
	if c.has(option) {
		if _, err := fmt.Sscanf(c.opts[option], "%dd", &n); err != nil {
			c.w.t.Fatalf("%s=%s: %v", option, c.opts[option], err)
		}
		return c.w.now + n*day
	}
	return otherwise
}

func (c call) circle(n int) string {
	if fullNames[c.arg(n)] == "" {
		return c.arg(n)
	}
	return string(c.s.town(c.arg(n)).id)
}

func secret(label string) machine.Hash { return sha256.Sum256([]byte(label)) }

func (c call) note() machine.Private {
	if !c.has("note") {
		return machine.Private{}
	}
	return machine.Text("", c.opts["note"])
}

var verbs = map[string]func(c call) (kind string, body any){
	"earn": func(c call) (string, any) {
		return "coin.earn", coin.Earn{
			Person: c.id(0), Minutes: c.minutes(1), Activity: c.arg(2),
			Place: c.opts["place"], On: c.days("on", 0),
		}
	},
	"pay": func(c call) (string, any) {
		return "coin.pay", coin.Pay{To: c.id(0), Minutes: c.minutes(1), Activity: c.arg(2), Note: c.note()}
	},
	"give": func(c call) (string, any) {
		g := coin.Give{To: c.id(0), Minutes: c.minutes(1), Note: c.note(), From: c.named(c.opts["from"])}
		if c.has("picture") {
			g.Picture = &coin.Picture{Data: []byte("\xff\xd8\xff picture"), Alt: text(c.opts["picture"])}
		}
		return "coin.give", g
	},
	"welcome":  func(c call) (string, any) { return "coin.welcome", coin.Welcome{Person: c.id(0)} },
	"autogift": func(c call) (string, any) { return "coin.autogift", coin.AutoGift{To: c.id(0)} },
	"freeze": func(c call) (string, any) {
		return "coin.freeze", coin.Freeze{Account: c.id(0), Frozen: true, Why: text(c.arg(1))}
	},
	"unfreeze": func(c call) (string, any) {
		return "coin.freeze", coin.Freeze{Account: c.id(0), Why: text(c.arg(1))}
	},
	"reverse": func(c call) (string, any) {
		return "coin.reverse", coin.Reverse{Transfer: c.s.labels[c.arg(0)].ID, Why: text(c.arg(1))}
	},
	"place": func(c call) (string, any) {
		return "coin.place", coin.AddPlace{Place: c.arg(0), Name: c.arg(1)}
	},
	"policy": func(c call) (string, any) {
		return "coin.policy", coin.SetPolicy{
			FloorMinutes: number(c.w.t, c.opts["floor"]), WelcomeMinutes: number(c.w.t, c.opts["welcome"]),
			AutoGift: c.opts["autogift"] == "yes", EarnDayMinutes: number(c.w.t, c.opts["day"]),
			ReviewOn: "2026-09-30", Decision: c.opts["decision"],
		}
	},
	"send": func(c call) (string, any) {
		p := exchange.Pay{
			Circle: c.circle(0), Code: c.arg(1), Minutes: c.minutes(2),
			Activity: c.opts["activity"], Note: c.note(),
		}
		if c.has("patience") {
			p.Patience = c.days("patience", 0) - c.w.now
		}
		return "exchange.pay", p
	},
	"code": func(c call) (string, any) { return "exchange.code", exchange.SetCode{Code: c.arg(0)} },
	"meet": func(c call) (string, any) {
		return "exchange.meet", exchange.Meet{Card: c.s.town(c.arg(0)).card()}
	},
	"ally": func(c call) (string, any) {
		return "exchange.ally", exchange.Ally{
			Circle: c.circle(0), LimitMinutes: c.minutes(1),
			ReviewOn: "2026-09-30", Decision: c.opts["decision"],
		}
	},
	"expire": func(call) (string, any) { return "exchange.expire", exchange.Expire{} },
	"invite": func(c call) (string, any) {
		i := member.Invite{
			Name: machine.Text("", c.arg(0)), Link: secret(c.opts["link"]),
			Until: c.days("until", c.w.now+day),
		}
		if c.has("hat") {
			i.Hats = []string{c.opts["hat"]}
		}
		return "member.invite", i
	},
	"link": func(c call) (string, any) {
		return "member.link", member.Link{
			Person: c.id(0), Link: secret(c.arg(1)), Until: c.days("until", c.w.now+day),
		}
	},
	"enter": func(c call) (string, any) {
		return "member.enter", member.Enter{
			Link: secret(c.arg(0)), Session: secret("s:" + c.arg(1)), Until: c.days("until", c.w.now+day),
		}
	},
	"signin": func(c call) (string, any) {
		return "member.signin", member.OpenSession{
			Person: c.id(0), Passkey: []byte(c.arg(1)),
			Session: secret("s:" + c.arg(2)), Until: c.days("until", c.w.now+day),
		}
	},
	"signout": func(c call) (string, any) {
		return "member.signout", member.CloseSession{Session: secret("s:" + c.arg(0))}
	},
	"passkey": func(c call) (string, any) {
		return "member.passkey-add", member.AddPasskey{
			Person: c.id(0), ID: []byte(c.arg(1)), Name: machine.Text("", c.arg(2)),
			Stored: machine.Text("", "stored"),
		}
	},
	"forget-passkey": func(c call) (string, any) {
		return "member.passkey-remove", member.RemovePasskey{ID: []byte(c.arg(0))}
	},
	"choose": func(c call) (string, any) {
		return "member.choose", member.Choose{
			Name: machine.Text("", c.arg(0)),
			Seen: c.opts["seen"] == "yes", Journey: c.opts["journey"] == "yes",
		}
	},
	"hat": func(c call) (string, any) {
		return "member.hat-grant", member.GrantHat{Person: c.id(0), Hat: c.arg(1), Until: c.days("until", 0)}
	},
	"unhat": func(c call) (string, any) {
		return "member.hat-end", member.EndHat{Person: c.id(0), Hat: c.arg(1)}
	},
	"allow": func(c call) (string, any) {
		a := member.AllowActing{
			Person: c.id(0), Advocate: c.id(1), Until: c.days("until", 0),
			Evidence: machine.Text("", "asked in person"),
		}
		if c.has("area") {
			a.Kinds = []string{c.opts["area"]}
		}
		return "member.acting-allow", a
	},
	"disallow": func(c call) (string, any) {
		return "member.acting-end", member.DisallowActing{Person: c.id(0), Advocate: c.id(1)}
	},
	// restored EPOCH [LOST] why=WHY: the books were put back, LOST commands before where they are now.
	"restored": func(c call) (string, any) {
		at, lost := machine.ReadMeta(c.w.kv), uint64(0)
		if c.arg(1) != "" {
			lost = uint64(c.minutes(1) / 60)
		}
		return "timeline.open", timeline.Open{
			Epoch: uint64(c.minutes(0) / 60), FromPosition: at.Position - lost,
			FromHead: at.Head, Backup: machine.ID{1}, Why: c.opts["why"], At: c.w.now,
		}
	},
	"activate": func(c call) (string, any) {
		return "rules.activate", machine.Activate{Version: uint32(c.minutes(0) / 60)}
	},
}

// line does one line of a story: ACTOR[/FOR] VERB ARGUMENTS name=value ... with as=LABEL to speak of the
// command later, id=LABEL to use its id once more, and "again LABEL" to send it once more.
func (s *story) line(w *town, words []string) string {
	if len(words) < 2 {
		s.t.Fatalf("line %q: want ACTOR VERB", words)
	}
	c := call{s: s, w: w, opts: map[string]string{}}
	for _, x := range words[2:] {
		if name, val, ok := strings.Cut(x, "="); ok && !strings.Contains(name, " ") {
			c.opts[name] = val
			continue
		}
		c.args = append(c.args, x)
	}
	if words[1] == "again" {
		return result(w, w.send(s.labels[c.arg(0)]))
	}
	verb, ok := verbs[words[1]]
	if !ok {
		s.t.Fatalf("there is no verb %q", words[1])
	}
	actor, behalf, _ := strings.Cut(words[0], "/")
	by := machine.Caller{Actor: c.named(actor)}
	if behalf != "" {
		by.OnBehalfOf = c.named(behalf)
	}
	kind, body := verb(c)
	cmd := w.command(by, kind, body)
	if c.has("id") {
		cmd.ID = s.labels[c.opts["id"]].ID
	}
	if c.has("as") {
		s.labels[c.opts["as"]] = cmd
	}
	out := w.send(cmd)
	if made, ok := out.Result.(member.Made); ok && words[1] == "invite" {
		w.people[c.arg(0)] = made.Person
	}
	return result(w, out)
}

// result puts an outcome in words.
func result(w *town, out machine.Outcome) string {
	if out.Refusal != nil {
		return refusal(out)
	}
	text := "done"
	switch r := out.Result.(type) {
	case coin.Moved:
		text = "done, now " + coin.Coins(r.Balance)
	case exchange.Paid:
		text = r.State
	case exchange.Allied:
		text = "offered"
		if r.InForce {
			text = "in force"
		}
	case exchange.Met:
		text = "met " + r.Name
	case member.Made:
		text = "done, " + r.Person
	}
	if out.Repeated {
		text = "again: " + text
	}
	return text
}
