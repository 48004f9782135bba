package machine

import "fmt"

// sentOutcome is an Outcome on its way from the replica that did the command to the one that was asked. Its
// events do not travel: every replica has its own from its own log.
type sentOutcome struct {
	_        struct{} `cbor:",toarray"`
	Position uint64
	Kind     string
	Since    uint32
	Result   []byte
	Refusal  *Error
	Repeated bool
}

// EncodeOutcome makes the bytes of an outcome for another replica.
func EncodeOutcome(out Outcome) []byte {
	sent := sentOutcome{
		Position: out.Position, Kind: out.Kind, Since: out.since,
		Refusal: out.Refusal, Repeated: out.Repeated,
	}
	if out.Refusal == nil {
		sent.Result = mustEncode(out.Result)
	}
	return mustEncode(sent)
}

// DecodeOutcome reads what EncodeOutcome wrote on a replica that may run another version.
func (m *Machine) DecodeOutcome(raw []byte) (Outcome, error) {
	var sent sentOutcome
	if err := decMode.Unmarshal(raw, &sent); err != nil {
		return Outcome{}, fmt.Errorf("decode outcome: %w", err)
	}
	out := Outcome{
		Position: sent.Position, Kind: sent.Kind, since: sent.Since,
		Refusal: sent.Refusal, Repeated: sent.Repeated,
	}
	rule, known := m.rule(sent.Kind, sent.Since)
	switch {
	case sent.Refusal != nil:
	case !known:
		return Outcome{}, fmt.Errorf("decode outcome: command kind %q is not known here", sent.Kind)
	default:
		result, err := rule.readResult(sent.Result)
		if err != nil {
			return Outcome{}, fmt.Errorf("decode outcome of %s: %w", sent.Kind, err)
		}
		out.Result = result
	}
	return out, nil
}
