package member

import (
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
)

// Erase has a person leave, and all that is kept about them made unreadable for ever. Their coins' entries
// stay in the book under an id that says nothing. A coordinator or the operator does it on the person's
// request and says how and when it was made; no more, for it stays.
type Erase struct {
	Person string `cbor:"1,keyasint" json:"person" doc:"the person's id"`
	How    string `cbor:"2,keyasint,omitempty" json:"how,omitempty" doc:"how they asked: phone ..."`
	On     string `cbor:"3,keyasint,omitempty" json:"on,omitempty" doc:"day they asked, as 2026-09-30"`
}

// Copy is a backup that was made before an erasure, so that it still holds what was erased.
type Copy struct {
	_       struct{} `cbor:",toarray"`
	Name    string   `json:"name"`
	Made    int64    `json:"made"`    // Unix milliseconds
	Expires int64    `json:"expires"` // when it is deleted, Unix milliseconds; 0: nobody said
}

// Erased says that a person was erased. Whoever answers adds the backups that still hold them.
type Erased struct {
	Person string `cbor:"1,keyasint" json:"person"`
	Copies []Copy `cbor:"2,keyasint,omitempty" json:"copies"`
	// InClear: the circle knew the person before it sealed what it keeps. Its log still holds words of that
	// time in plain.
	InClear bool `cbor:"3,keyasint,omitempty" json:"inClear"`
}

// erasure is the line that stays.
type erasure struct {
	_       struct{} `cbor:",toarray"`
	Person  string
	At      int64
	By      string
	How     string
	On      string
	Version uint32 // of the vault's key that was in use; once it is gone, so is what it opened
	InClear bool   // see Erased
}

var erased = machine.NewTable[erasure]("member", "erased")

// Check implements machine.Checker.
func (e Erase) Check() error {
	if e.How != "" && !knownWay(e.How) {
		return machine.Refuse("bad_text", "Say how they asked: %s.", strings.Join(asked, ", "))
	}
	if e.On != "" && !isDay(e.On) {
		return machine.Refuse("bad_time", "Say the day they asked, such as 2026-09-30.")
	}
	return nil
}

func isDay(text string) bool {
	return len(text) == 10 && text[4] == '-' && text[7] == '-' &&
		strings.Trim(text[:4]+text[5:7]+text[8:], "0123456789") == ""
}

// mayErase: a person themself, or a coordinator or the operator on a request they put down.
var mayErase = machine.Policy{
	Name: "the person, or on their recorded request a coordinator or the operator",
	Allow: func(rd machine.Read, body any) error {
		b, ok := body.(Erase)
		if ok && rd.Actor == b.Person && rd.Person() == rd.Actor {
			return Signed.Allow(rd, body)
		}
		if err := Coordinator.Allow(rd, body); err != nil {
			return machine.Refuse("not_allowed",
				"Only the person, or a coordinator on their request, may do this.")
		}
		if b.How == "" || b.On == "" {
			return machine.Refuse("reason_missing",
				"Say how and on which day this person asked to be erased.")
		}
		return nil
	},
}

func erase(tx *machine.Tx, b Erase) (Erased, error) {
	p, ok := Find(tx, b.Person)
	if !ok || p.Status != Moved {
		var err error
		if p, err = Known(tx, b.Person); err != nil {
			return Erased{}, err
		}
	}
	var theirs []machine.Key
	for hash, l := range links.All(tx, nil, nil) {
		if l.Person == p.ID {
			theirs = append(theirs, slices.Clone(hash))
		}
	}
	for _, hash := range theirs {
		links.Delete(tx, hash)
	}
	for _, hash := range collect(mine, tx, machine.Key{}.Str(p.ID)) {
		endSession(tx, hash)
	}
	for _, k := range collect(passkeys, tx, machine.Key{}.Str(p.ID)) {
		passkeys.Delete(tx, machine.Key{}.Str(p.ID).Bytes(k.ID))
	}
	for _, a := range collect(actings, tx, nil) {
		if a.Person == p.ID || a.Advocate == p.ID {
			actings.Delete(tx, machine.Key{}.Str(a.Person).Str(a.Advocate))
		}
	}
	now, _ := TheVault(tx)
	inClear := knownInClear(tx, p)
	keys.Delete(tx, machine.Key{}.Str(p.ID))
	erased.Put(tx, machine.Key{}.Str(p.ID), erasure{
		Person: p.ID, At: tx.Now(), By: tx.Caller().Actor, How: b.How, On: b.On, Version: now.Version,
		InClear: inClear,
	})
	put(tx, Person{ID: p.ID, Status: Left, Joined: p.Joined})
	tx.Emit(machine.Event{
		Kind: "member.left", Audience: []string{machine.AudienceCircle}, Subject: p.ID,
	})
	return Erased{Person: p.ID, InClear: inClear}, nil
}

// knownInClear tells whether words about a person may have been logged before this circle sealed them. Who
// was invited before may have come a while after.
func knownInClear(r machine.Reader, p Person) bool {
	c, _ := TheCircle(r)
	v, ok := TheVault(r)
	return !ok || c.Founded < v.Began && p.Joined < v.Began+maxLinkMillis
}

// collect reads rows before they are written: a table must not be written while it is walked.
func collect[V any](t machine.Table[V], tx *machine.Tx, prefix machine.Key) []V {
	var out []V
	for _, v := range t.All(tx, prefix, nil) {
		out = append(out, v)
	}
	return out
}

// ToTurn tells whether somebody was erased while the vault's key in use was: it has to make way for a new
// one, under which that person's key is not.
func ToTurn(r machine.Reader) bool {
	now, ok := TheVault(r)
	for _, e := range erased.All(r, nil, nil) {
		if ok && e.Version == now.Version {
			return true
		}
	}
	return false
}

// ErasedPerson is one erasure.
type ErasedPerson struct {
	Person string `json:"person"`
	At     int64  `json:"at"`
	ByName string `json:"byName"`
	How    string `json:"how,omitempty"`
	On     string `json:"on,omitempty"`
	Done   bool   `json:"done"`   // the old key of the vault is out of use
	Copies []Copy `json:"copies"` // backups made before
	// InClear: the log holds words about them from before this circle sealed what it keeps.
	InClear bool `json:"inClear"`
}

// Erasures is an answer of member.erasures.
type Erasures struct {
	Erased []ErasedPerson `json:"erased"`
}

func erasures(rd machine.Read, _ machine.None) (Erasures, error) {
	out := Erasures{Erased: []ErasedPerson{}}
	now, _ := TheVault(rd)
	for _, e := range erased.All(rd, nil, nil) {
		out.Erased = append(out.Erased, ErasedPerson{
			Person: e.Person, At: e.At, ByName: NameFor(rd, e.By), How: e.How, On: e.On,
			Done: e.Version < now.Version && len(KeysUnder(rd, now.Version)) == 0, Copies: []Copy{},
			InClear: e.InClear,
		})
		if len(out.Erased) == MaxPeopleListed {
			break
		}
	}
	return out, nil
}
