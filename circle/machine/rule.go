package machine

import (
	"reflect"
	"strings"
)

// Feature is one folder of the circle: its rules and views.
type Feature struct {
	Name   string
	Rules  []Rule
	Views  []View
	MayRun bool // its rules may run commands as the circle (Tx.Run): a privilege
	// Keeps lists what the feature keeps about a person, for them to read.
	Keeps func(rd Read, person string) []Kept
	// Written tells whether the reader's look at a person was written down just now; one feature has it.
	Written func(rd Read, person string) bool
}

// Policy says who may do or read something. Allow returns nil, or the refusal to give.
type Policy struct {
	Name  string // as shown in the permission list
	Allow func(rd Read, body any) error
}

// Rule is one command kind and what it does.
type Rule struct {
	Kind   string
	Doc    string // one sentence for people
	Policy Policy
	Since  uint32 // the rules version it is in force from
	Body   reflect.Type
	Result reflect.Type

	feature    string
	mayRun     bool
	decode     func(raw []byte) (any, error)
	readResult func(raw []byte) (any, error)
	apply      func(tx *Tx, body any) (any, error)
}

// Checker is a body that can say by itself that it makes no sense, whatever the state.
type Checker interface{ Check() error }

// Do makes the rule of one kind. B is the body, R the result; both are plain structs with CBOR integer keys.
func Do[B, R any](kind, doc string, policy Policy, apply func(tx *Tx, b B) (R, error)) Rule {
	return Rule{
		Kind: kind, Doc: doc, Policy: policy,
		Body: reflect.TypeFor[B](), Result: reflect.TypeFor[R](),
		decode: func(raw []byte) (any, error) {
			var b B
			if err := decMode.Unmarshal(raw, &b); err != nil {
				return nil, Refuse("bad_body", "The body of %s is not of its form: %v.", kind, err)
			}
			if c, ok := any(b).(Checker); ok {
				if err := c.Check(); err != nil {
					return nil, err
				}
			}
			return b, nil
		},
		readResult: func(raw []byte) (any, error) {
			var r R
			err := decMode.Unmarshal(raw, &r)
			return r, err
		},
		apply: func(tx *Tx, body any) (any, error) { return apply(tx, body.(B)) },
	}
}

// From makes the rule the form of its kind from a rules version on.
func (r Rule) From(version uint32) Rule {
	r.Since = version
	return r
}

func compareRules(a, b Rule) int {
	if c := strings.Compare(a.Kind, b.Kind); c != 0 {
		return c
	}
	return int(int64(a.Since) - int64(b.Since))
}

// None is an empty body, query or result.
type None struct{}

// Read is what a policy or a view goes by: the state, who asks, and the time: ledger time within a command.
type Read struct {
	Reader
	Caller
	Now  int64  // Unix milliseconds
	Kind string // the command kind or view name asked for

	open  func(r Reader, p Private) ([]byte, bool) // nil within rules: they hold no keys
	keeps []func(rd Read, person string) []Kept
}

// View answers one kind of question.
type View struct {
	Name   string
	Doc    string
	Policy Policy
	Query  reflect.Type
	Answer reflect.Type
	Class  Class // see Of

	query  func(set func(query any) error) (any, error)
	answer func(rd Read, query any) (any, error)
}

// Ask makes a view. Q is the query, A the answer.
func Ask[Q, A any](name, doc string, policy Policy, fn func(rd Read, q Q) (A, error)) View {
	return View{
		Name: name, Doc: doc, Policy: policy,
		Query: reflect.TypeFor[Q](), Answer: reflect.TypeFor[A](),
		query: func(set func(query any) error) (any, error) {
			var q Q
			if set != nil {
				if err := set(&q); err != nil {
					return nil, err
				}
			}
			return q, nil
		},
		answer: func(rd Read, q any) (any, error) { return fn(rd, q.(Q)) },
	}
}

// Only makes a policy for one reserved actor.
func Only(actor string) Policy {
	return Policy{Name: actor + " only", Allow: func(c Read, _ any) error {
		if c.Actor == actor && c.OnBehalfOf == "" {
			return nil
		}
		return Refuse("not_allowed", "Only the %s itself may do this.", actor)
	}}
}

// PeerOnly is the policy of letters from other circles.
var PeerOnly = Policy{Name: "another circle", Allow: func(c Read, _ any) error {
	if _, ok := c.Peer(); ok && c.OnBehalfOf == "" {
		return nil
	}
	return Refuse("not_allowed", "Only a letter from another circle may do this.")
}}

// Anyone is the policy of what is public.
var Anyone = Policy{Name: "anyone", Allow: func(Read, any) error { return nil }}

// AnyOf allows what one of the policies allows; the refusal given is the first one's.
func AnyOf(policies ...Policy) Policy {
	names := make([]string, 0, len(policies))
	for _, p := range policies {
		names = append(names, p.Name)
	}
	return Policy{Name: strings.Join(names, " or "), Allow: func(rd Read, body any) error {
		var first error
		for _, p := range policies {
			err := p.Allow(rd, body)
			if err == nil {
				return nil
			}
			if first == nil {
				first = err
			}
		}
		return first
	}}
}
