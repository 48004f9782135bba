// Package machine runs a circle: commands in, in log order; changed tables, events and results out, or a
// refusal and nothing changed. It knows no domain words. A circle is a pure function of its log: the same
// commands in the same order give the same state, byte for byte, on every replica and in every replay.
package machine

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"reflect"
	"slices"
	"strings"
)

// Limits of one circle's machine.
const (
	MaxCommandBytes  = 320 << 10 // a whole encoded command, picture included
	MaxKindBytes     = 64
	MaxNestedDepth   = 4
	MaxEventsOfOne   = 64   // events one command may emit
	MaxEventsKept    = 1000 // newest events kept for pages
	MaxUndoOfCommand = 100_000
)

// ErrStop marks errors after which a replica must stop rather than guess: it met a command it cannot
// decode or does not know, so going on would make its state differ from the others'.
var ErrStop = errors.New("this replica must stop")

// Machine is a circle's rules and views, closed at construction. It holds no state of its own, so one
// Machine may serve any number of states.
type Machine struct {
	rules  []Rule // by kind, then by Since
	views  []View // by name
	mayAct func(rd Read) error
	open   func(r Reader, p Private) ([]byte, bool) // see Opening; nil: sealed data stays closed

	keeps   []func(rd Read, person string) []Kept
	written func(rd Read, person string) bool
}

// Meta is where a state stands.
type Meta struct {
	_            struct{} `cbor:",toarray"`
	Position     uint64   // commands in the journal
	Head         Hash     // hash chain over them
	At           int64    // ledger time of the newest, Unix milliseconds
	RulesVersion uint32   // behaviour in force, see rules.activate
	Events       uint64   // events ever emitted
}

// Outcome is what one command did.
type Outcome struct {
	Position uint64 // in the journal; that of the first time where Repeated
	Kind     string
	Result   any    // what the rule returned; nil when refused
	Refusal  *Error // nil when done
	Events   []Event
	Repeated bool // this command id was answered before; nothing was done now

	since uint32 // the form of the rule that gave Result
}

// New builds a machine from features. It fails on a rule or view without a policy or doc, on a name outside
// its feature and on duplicates: what is not allowed by name is not there at all.
func New(mayAct func(rd Read) error, features ...Feature) (*Machine, error) {
	m := &Machine{mayAct: mayAct}
	for _, f := range append([]Feature{rulesFeature()}, features...) {
		for _, r := range f.Rules {
			r.feature = f.Name
			r.mayRun = f.MayRun
			if err := m.addRule(r); err != nil {
				return nil, err
			}
		}
		if f.Keeps != nil {
			m.keeps = append(m.keeps, f.Keeps)
		}
		if f.Written != nil {
			m.written = f.Written
		}
		for _, v := range f.Views {
			if err := m.addView(f.Name, v); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

func (m *Machine) addRule(r Rule) error {
	switch {
	case !strings.HasPrefix(r.Kind, r.feature+"."), len(r.Kind) > MaxKindBytes:
		return fmt.Errorf("rule %q is not named %s.something", r.Kind, r.feature)
	case r.Policy.Allow == nil, r.Policy.Name == "":
		return fmt.Errorf("rule %q has no policy: say who may do it", r.Kind)
	case r.Doc == "":
		return fmt.Errorf("rule %q has no doc", r.Kind)
	}
	at, dup := slices.BinarySearchFunc(m.rules, r, compareRules)
	if dup {
		return fmt.Errorf("rule %q is registered twice for rules version %d", r.Kind, r.Since)
	}
	m.rules = slices.Insert(m.rules, at, r)
	return nil
}

func (m *Machine) addView(feature string, v View) error {
	switch {
	case !strings.HasPrefix(v.Name, feature+"."):
		return fmt.Errorf("view %q is not named %s.something", v.Name, feature)
	case v.Policy.Allow == nil, v.Policy.Name == "":
		return fmt.Errorf("view %q has no policy: say who may read it", v.Name)
	case v.Doc == "":
		return fmt.Errorf("view %q has no doc", v.Name)
	case v.Class >= ClassCare && !v.Query.Implements(reflect.TypeFor[Looking]()):
		return fmt.Errorf("view %q of class P%d does not say whom it looks at", v.Name, v.Class)
	}
	byName := func(a View, name string) int { return strings.Compare(a.Name, name) }
	at, dup := slices.BinarySearchFunc(m.views, v.Name, byName)
	if dup {
		return fmt.Errorf("view %q is registered twice", v.Name)
	}
	m.views = slices.Insert(m.views, at, v)
	return nil
}

// Rules lists every rule, by kind.
func (m *Machine) Rules() []Rule { return slices.Clone(m.rules) }

// Views lists every view, by name.
func (m *Machine) Views() []View { return slices.Clone(m.views) }

// forms returns every form of a kind, the oldest first.
func (m *Machine) forms(kind string) []Rule {
	byKind := func(r Rule, kind string) int { return strings.Compare(r.Kind, kind) }
	from, _ := slices.BinarySearchFunc(m.rules, kind, byKind)
	to := from
	for to < len(m.rules) && m.rules[to].Kind == kind {
		to++
	}
	return m.rules[from:to]
}

// rule finds the newest form of a kind that is in force at a rules version.
func (m *Machine) rule(kind string, version uint32) (r *Rule, known bool) {
	forms := m.forms(kind)
	for i := range forms {
		if forms[i].Since <= version {
			r, known = &forms[i], true
		}
	}
	return r, known
}

// Newest returns the newest form of a kind's rule.
func (m *Machine) Newest(kind string) (r Rule, known bool) {
	forms := m.forms(kind)
	if len(forms) == 0 {
		return r, false
	}
	return forms[len(forms)-1], true
}

// Knows tells whether any version of this program's rules has the kind.
func (m *Machine) Knows(kind string) bool { return len(m.forms(kind)) > 0 }

// Check refuses, before it enters the log, what no state could accept: an unknown kind, a body of the wrong
// shape, one that is too large. The reserved actor "circle" is refused here as well.
func (m *Machine) Check(c Command) error {
	_, err := m.Ready(c)
	return err
}

// Ready is Check, and returns the bytes to be logged.
func (m *Machine) Ready(c Command) ([]byte, error) {
	if !m.Knows(c.Kind) {
		return nil, Refuse("unknown_kind",
			"There is no command %q. The list of commands: carecircle help kinds.", c.Kind)
	}
	if c.Actor == ActorCircle {
		return nil, Refuse("actor_reserved", "No one may act as the circle itself. Sign in as yourself.")
	}
	if !plain(c.Actor) || !plain(c.OnBehalfOf) || c.Actor == "" {
		return nil, Refuse("not_allowed", "This is not the name of anyone who can act.")
	}
	if c.ID == (ID{}) {
		return nil, Refuse("id_missing", "The command has no id. Send an id so that a retry is recognised.")
	}
	raw, err := c.Encode()
	if err != nil {
		return nil, Refuse("bad_body", "The command cannot be encoded: %v.", err)
	}
	if len(raw) > MaxCommandBytes {
		return nil, Refuse("too_large",
			"The command is %d KB; at most %d KB fit. Send a smaller picture or text.",
			len(raw)>>10, MaxCommandBytes>>10)
	}
	if _, err := decodeLogged(raw); err != nil { // it would stop every replica
		return nil, Refuse("bad_body", "The command cannot be logged: %v.", err)
	}
	return raw, m.checkBody(c)
}

// checkBody wants a body that some form of the kind's rule accepts: which one is in force only the log says.
func (m *Machine) checkBody(c Command) error {
	var err error
	for _, r := range m.forms(c.Kind) {
		var body any
		if body, err = r.decode(c.Body); err == nil {
			return checkActivate(body)
		}
	}
	return err
}

// plain tells whether a caller's name can stand in a key.
func plain(name string) bool { return len(name) <= 128 && !strings.ContainsRune(name, 0) }

// Apply runs one logged command against the state. The error, always ErrStop, says the replica must stop;
// a refusal is an Outcome.
func (m *Machine) Apply(kv KV, raw []byte) (Outcome, error) {
	c, err := decodeLogged(raw)
	if err != nil {
		return Outcome{}, fmt.Errorf("%w: apply: %w", ErrStop, err)
	}
	if !m.Knows(c.Kind) {
		return Outcome{}, fmt.Errorf("%w: apply: command kind %q is not known to this version of carecircle;"+
			" install the version that wrote it", ErrStop, c.Kind)
	}
	if err := Understood(kv); err != nil {
		return Outcome{}, fmt.Errorf("apply %s: %w", c.Kind, err)
	}
	if out, again := m.answered(kv, c); again {
		return out, nil
	}
	meta := ReadMeta(kv)
	meta.At = max(meta.At, c.At)
	c.At = meta.At
	meta.Position++
	meta.Head = ChainHash(meta.Head, raw)
	out := Outcome{Position: meta.Position, Kind: c.Kind}
	tx := &Tx{kv: kv, machine: m, cmd: c, meta: meta, current: &Rule{}}
	result, err := tx.run(c)
	if err == nil && tx.beyond {
		err = Refuse("too_much_at_once", "More than %d things would happen by this at once. Ask for less"+
			" at a time.", MaxEventsOfOne)
	}
	if tx.stop != nil {
		tx.undoTo(mark{})
		return Outcome{}, fmt.Errorf("apply %s: %w", c.Kind, tx.stop)
	}
	if err != nil {
		tx.undoTo(mark{})
		out.Refusal = AsError(err)
	} else {
		out.Result = result
		out.Events = tx.events
	}
	out.since = tx.current.Since
	m.close(kv, tx, raw, &out)
	return out, nil
}

// close writes what every command leaves behind, done or refused: its place in the journal, its answer, and
// where the state now stands.
func (m *Machine) close(kv KV, tx *Tx, raw []byte, out *Outcome) {
	meta := tx.meta
	meta.RulesVersion = tx.rulesVersion()
	for i := range out.Events {
		e := &out.Events[i]
		meta.Events++
		e.Number, e.Position, e.At = meta.Events, meta.Position, meta.At
		add(kv, eventKey(e.Number), mustEncode(*e))
		if e.Number > MaxEventsKept {
			kv.Delete(eventKey(e.Number - MaxEventsKept))
		}
	}
	a := answer{Asked: tx.cmd.asked(), Position: meta.Position, Kind: tx.cmd.Kind, Refusal: out.Refusal}
	a.Since = tx.current.Since
	if out.Refusal == nil {
		a.Result = mustEncode(out.Result)
	}
	add(kv, journalKey(meta.Position), raw)
	if out.Refusal == nil || !out.Refusal.later {
		add(kv, answerKey(tx.cmd.ID), mustEncode(a)) // Apply has looked
	}
	kv.Set(metaKey, mustEncode(meta))
}

type answer struct {
	_        struct{} `cbor:",toarray"`
	Asked    Hash
	Position uint64
	Kind     string
	Result   []byte
	Refusal  *Error
	Since    uint32 // the form of the rule that gave Result
}

// answered looks a command id up. The same id with another body is refused without a trace: the first
// answer stands.
func (m *Machine) answered(r Reader, c Command) (Outcome, bool) {
	raw, ok := r.Get(answerKey(c.ID))
	if !ok {
		return Outcome{}, false
	}
	var a answer
	mustDecode(raw, &a)
	out := Outcome{Position: a.Position, Kind: a.Kind, Repeated: true, since: a.Since}
	if a.Asked != c.asked() {
		out.Refusal = Refuse("id_reused", "This request id was used before for something else."+
			" Send it again with a new id.")
		return out, true
	}
	out.Refusal = a.Refusal
	if a.Refusal == nil {
		rule, _ := m.rule(a.Kind, a.Since)
		out.Result = must(rule.readResult(a.Result))
	}
	return out, true
}

// View answers a question about the state for one caller. Privacy is applied inside the view.
func (m *Machine) View(rd Read, name string, set func(query any) error) (any, error) {
	v, ok := m.view(name)
	if !ok {
		return nil, Refuse("unknown_view",
			"There is no view %q. The list of views: carecircle help kinds.", name)
	}
	rd.Kind, rd.open, rd.keeps = name, m.open, m.keeps
	if err := m.authorise(rd); err != nil {
		return nil, err
	}
	q, err := v.query(set)
	if err != nil {
		return nil, err
	}
	if err := v.Policy.Allow(rd, q); err != nil {
		return nil, err
	}
	if err := m.mayLook(rd, v, q); err != nil {
		return nil, err
	}
	return v.answer(rd, q)
}

func (m *Machine) view(name string) (View, bool) {
	byName := func(a View, name string) int { return strings.Compare(a.Name, name) }
	i, ok := slices.BinarySearchFunc(m.views, name, byName)
	if !ok {
		return View{}, false
	}
	return m.views[i], true
}

// authorise checks that the actor may act on behalf of whom it names.
func (m *Machine) authorise(rd Read) error {
	if rd.OnBehalfOf == "" || rd.OnBehalfOf == rd.Actor {
		return nil
	}
	if !plain(rd.Actor) || !plain(rd.OnBehalfOf) {
		return Refuse("not_allowed", "This is not the name of anyone who can act.")
	}
	return m.mayAct(rd)
}

// ReadMeta tells where a state stands; the zero Meta for an empty one.
func ReadMeta(r Reader) Meta {
	var meta Meta
	if raw, ok := r.Get(metaKey); ok {
		mustDecode(raw, &meta)
	}
	return meta
}

// ChainHash links one command's bytes to the head before it.
func ChainHash(head Hash, raw []byte) Hash {
	h := sha256.New()
	h.Write([]byte("carecircle log v1\x00"))
	h.Write(head[:])
	h.Write(raw)
	return Hash(h.Sum(nil))
}

// Journal calls fn for the logged commands from position on, oldest first, until fn returns false.
func Journal(r Reader, from uint64, fn func(position uint64, raw []byte) bool) {
	r.Ascend(journalPrefix, journalKey(from), func(key, value []byte) bool {
		return fn(Key(key[len(journalPrefix):]).num(), value)
	})
}

// StateHash hashes every row that rules can write, in key order. The journal, the answers and the position
// stay out of it: a refused command moves those and nothing else.
func StateHash(r Reader) Hash {
	h := sha256.New()
	r.Ascend(tablePrefix, nil, func(key, value []byte) bool {
		hashRow(h, key, value)
		return true
	})
	return Hash(h.Sum(nil))
}

func hashRow(h hash.Hash, key, value []byte) {
	var size [8]byte
	h.Write(bigEndian(size[:0], uint64(len(key))))
	h.Write(key)
	h.Write(bigEndian(size[:0], uint64(len(value))))
	h.Write(value)
}

// Copy writes every row of from into an empty to: a snapshot taken or restored.
func Copy(to KV, from Reader) {
	from.Ascend(nil, nil, func(key, value []byte) bool {
		to.Set(bytes.Clone(key), bytes.Clone(value))
		return true
	})
}
