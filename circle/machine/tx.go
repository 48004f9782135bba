package machine

import (
	"bytes"
	"crypto/sha256"
	"slices"
)

// maxSeen bounds how many decoded rows a command keeps at hand.
const maxSeen = 16

// Tx is one command being applied. Rules write through tables on it; everything written is undone when the
// command, or the nested command that wrote it, is refused.
type Tx struct {
	kv      KV
	machine *Machine
	cmd     Command
	meta    Meta  // as it will be after this command, but for what rules.activate changes: see rulesVersion
	changes bool  // rules.activate has run
	stop    error // why this replica must not go on, whatever the rules made of it
	current *Rule
	undo    []undo
	seen    []decoded
	events  []Event
	beyond  bool // more events than one command may emit
	depth   int
	fresh   uint64
}

type undo struct {
	key, value []byte
	had        bool
}

// decoded is a row as this command last decoded or wrote it.
type decoded struct {
	key   []byte
	value any
}

// mark is a point to undo back to.
type mark struct{ undo, events int }

// Event is something that happened, for pages, notices and audit. It is an output: no rule reads it.
// Fields are flat so that one page can put any of them into words.
type Event struct {
	_        struct{} `cbor:",toarray"`
	Number   uint64   `json:"number"`
	Position uint64   `json:"position"`
	At       int64    `json:"at"`
	Kind     string   `json:"kind"`              // past tense: coin.given
	Audience []string `json:"audience"`          // person ids, or AudienceCircle
	Subject  string   `json:"subject,omitempty"` // who or what it is about
	Object   string   `json:"object,omitempty"`  // the other side
	Minutes  int64    `json:"minutes,omitempty"`
	Words    string   `json:"words,omitempty"`
}

// AudienceCircle marks an event that every member of the circle may see.
const AudienceCircle = "circle"

// Caller returns who asked for the running command: the circle, inside a nested one.
func (tx *Tx) Caller() Caller { return tx.cmd.Caller }

// ID returns the id of the command that the client sent.
func (tx *Tx) ID() ID { return tx.cmd.ID }

// Fresh returns an id no other call returns: the command's own first, then ids made from it. What a command
// makes is thereby named the same on every replica.
func (tx *Tx) Fresh() ID {
	tx.fresh++
	if tx.fresh == 1 {
		return tx.cmd.ID
	}
	sum := sha256.Sum256(Key("carecircle id v1").Bytes(tx.cmd.ID[:]).Num(tx.fresh))
	return ID(sum[:16])
}

// Now returns the ledger time: Unix milliseconds, never earlier than any command before.
func (tx *Tx) Now() int64 { return tx.cmd.At }

// Head returns the journal's position and hash, this command included.
func (tx *Tx) Head() (position uint64, head Hash) { return tx.meta.Position, tx.meta.Head }

// Get implements Reader.
func (tx *Tx) Get(key []byte) ([]byte, bool) { return tx.kv.Get(key) }

// Ascend implements Reader.
func (tx *Tx) Ascend(prefix, from []byte, fn func(key, value []byte) bool) {
	tx.kv.Ascend(prefix, from, fn)
}

// Descend implements Reader.
func (tx *Tx) Descend(prefix, from []byte, fn func(key, value []byte) bool) {
	tx.kv.Descend(prefix, from, fn)
}

func (tx *Tx) set(key, value []byte) {
	tx.remember(key)
	tx.kv.Set(key, value)
}

// add is set for a row that is known to be new.
func (tx *Tx) add(key, value []byte) {
	tx.keep(undo{key: key})
	add(tx.kv, key, value)
}

func (tx *Tx) delete(key []byte) {
	tx.remember(key)
	tx.kv.Delete(key)
}

// remember keeps the row as it is now.
func (tx *Tx) remember(key []byte) {
	old, had := tx.kv.Get(key)
	tx.keep(undo{key: key, value: old, had: had})
}

func (tx *Tx) keep(u undo) {
	tx.forget(u.key)
	if len(tx.undo) >= MaxUndoOfCommand {
		panic("one command writes more rows than any rule should")
	}
	tx.undo = append(tx.undo, u)
}

// recall returns what a row was decoded to.
func (tx *Tx) recall(key []byte) (any, bool) {
	for i := range tx.seen {
		if bytes.Equal(tx.seen[i].key, key) {
			return tx.seen[i].value, true
		}
	}
	return nil, false
}

// note keeps what a row was decoded to; few are worth looking through.
func (tx *Tx) note(key []byte, value any) {
	if len(tx.seen) < maxSeen {
		tx.seen = append(tx.seen, decoded{key, value})
	}
}

func (tx *Tx) forget(key []byte) {
	for i := range tx.seen {
		if bytes.Equal(tx.seen[i].key, key) {
			last := len(tx.seen) - 1
			tx.seen[i] = tx.seen[last]
			tx.seen = tx.seen[:last]
			return
		}
	}
}

func (tx *Tx) mark() mark { return mark{undo: len(tx.undo), events: len(tx.events)} }

func (tx *Tx) undoTo(m mark) {
	for _, u := range slices.Backward(tx.undo[m.undo:]) {
		if u.had {
			tx.kv.Set(u.key, u.value)
		} else {
			tx.kv.Delete(u.key)
		}
	}
	tx.undo, tx.seen = tx.undo[:m.undo], nil
	tx.events, tx.beyond = tx.events[:m.events], false
}

// Emit records an event, to be published if the command is done. A command that emits more than
// MaxEventsOfOne is refused: whoever asks for so much at once has to ask for less.
func (tx *Tx) Emit(e Event) {
	if len(tx.events) >= MaxEventsOfOne {
		tx.beyond = true
		return
	}
	tx.events = append(tx.events, e)
}

// Run does another command as the circle, inside this one: all of it or, when it is refused, none of it.
// The refusal is the caller's to pass on or to live with. Only features with MayRun may call it.
func (tx *Tx) Run(kind string, body any) (any, error) {
	if !tx.current.mayRun {
		panic("feature " + tx.current.feature + " may not run commands as the circle")
	}
	if tx.depth+1 >= MaxNestedDepth {
		return nil, Refuse("nested_too_deep", "Commands within commands go at most %d deep.", MaxNestedDepth)
	}
	outer, rule := tx.cmd, tx.current
	inner, err := NewCommand(outer.ID, Caller{Actor: ActorCircle}, outer.At, kind, body)
	if err != nil {
		return nil, err
	}
	before := tx.mark()
	tx.depth++
	result, err := tx.run(inner)
	tx.depth--
	tx.cmd, tx.current = outer, rule
	if err != nil {
		tx.undoTo(before)
		return nil, err
	}
	return result, nil
}

// Try does part of a command: when it fails, all it wrote is undone and the command may go on without it.
func (tx *Tx) Try(part func() error) error {
	before := tx.mark()
	err := part()
	if err != nil {
		tx.undoTo(before)
	}
	return err
}

// rulesVersion is the version in force: an activation within this command counts, unless it was undone.
func (tx *Tx) rulesVersion() uint32 {
	if !tx.changes {
		return tx.meta.RulesVersion
	}
	return ReadMeta(tx.kv).RulesVersion
}

// run finds the rule in force, asks its policy and applies it.
func (tx *Tx) run(c Command) (any, error) {
	rule, inForce := tx.machine.rule(c.Kind, tx.rulesVersion())
	if !inForce {
		return nil, notInForce(c.Kind)
	}
	body, err := rule.decode(c.Body)
	if err != nil {
		return nil, err
	}
	rd := Read{Reader: tx.kv, Caller: c.Caller, Now: c.At, Kind: c.Kind}
	if err := tx.machine.authorise(rd); err != nil {
		return nil, err
	}
	if err := rule.Policy.Allow(rd, body); err != nil {
		return nil, err
	}
	tx.cmd, tx.current = c, rule
	return rule.apply(tx, body)
}
