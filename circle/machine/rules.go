package machine

import "fmt"

// NewestRules is the highest rules version this program understands.
const NewestRules uint32 = 1

// Activate switches this circle to a newer rules version.
type Activate struct {
	Version uint32 `cbor:"1,keyasint" json:"version" doc:"the rules version every replica understands"`
}

const activateKind = "rules.activate"

// Activates tells which rules version a command would put in force, if it is that kind of command.
func Activates(c Command) (version uint32, ok bool) {
	var b Activate
	if c.Kind != activateKind || decMode.Unmarshal(c.Body, &b) != nil {
		return 0, false
	}
	return b.Version, true
}

func rulesFeature() Feature {
	policy := AnyOf(Only(ActorOperator), Only(ActorCircle))
	return Feature{Name: "rules", Rules: []Rule{
		Do(activateKind, "Switch to a newer version of the rules, once every replica runs it.", policy,
			activate),
	}}
}

// activate gives the same answer on every program that can give one. A version that this one does not know
// is in force from here on for those that do, so it stops.
func activate(tx *Tx, b Activate) (None, error) {
	meta := ReadMeta(tx)
	if b.Version <= meta.RulesVersion {
		return None{}, Refuse("rules_not_newer", "Rules version %d is in force; name a higher one.",
			meta.RulesVersion)
	}
	if b.Version > NewestRules {
		tx.stop = notUnderstood(b.Version)
		return None{}, tx.stop
	}
	meta.RulesVersion = b.Version
	tx.changes = true
	tx.set(metaKey, mustEncode(meta))
	return None{}, nil
}

// checkActivate keeps a version that this program does not know out of the log: it would stop the replica.
func checkActivate(body any) error {
	if a, ok := body.(Activate); ok && a.Version > NewestRules {
		return Refuse("rules_unknown", "This program knows rules up to version %d.", NewestRules)
	}
	return nil
}

// Understood says whether this program has the rules that are in force in a state. If not the error is
// ErrStop: it would apply older ones.
func Understood(r Reader) error {
	if v := ReadMeta(r).RulesVersion; v > NewestRules {
		return notUnderstood(v)
	}
	return nil
}

func notUnderstood(version uint32) error {
	return fmt.Errorf("%w: rules version %d is in force, this version of carecircle knows rules up to %d;"+
		" install the version that the circle's other replicas run", ErrStop, version, NewestRules)
}

// InForce refuses, before it enters the log, a command whose kind comes with a later rules version than the
// state's: replicas that run an older program would have to stop at it.
func (m *Machine) InForce(r Reader, kind string) error {
	forms := m.forms(kind)
	if len(forms) == 0 || forms[0].Since == 0 || forms[0].Since <= ReadMeta(r).RulesVersion {
		return nil
	}
	return notInForce(kind)
}

// NeedsVersion tells whether the kind is in force from some rules version on, and not always.
func (m *Machine) NeedsVersion(kind string) bool {
	forms := m.forms(kind)
	return len(forms) > 0 && forms[0].Since > 0
}

func notInForce(kind string) error {
	return Refuse("not_in_force", "%s comes with a later rules version that this circle has not switched to.",
		kind)
}
