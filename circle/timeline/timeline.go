// Package timeline holds which of a circle's histories this is. A circle whose books were put back from a
// backup goes on from there: a new epoch of it begins, and what had happened after the backup is of a
// timeline that was left.
package timeline

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/replicas"
)

// Limits of this feature.
const (
	MaxWhyRunes = 200
	MaxEpochs   = 1000 // ever opened; a circle is restored a few times in its life
)

// Open begins a new epoch: the books were put back from a backup. Numbers go up and may leave some out:
// those of epochs that began after this backup, and were left with all that was in them.
type Open struct {
	Epoch        uint64       `cbor:"1,keyasint" json:"epoch" doc:"number of the new epoch"`
	FromPosition uint64       `cbor:"2,keyasint" json:"fromPosition" doc:"commands in the backup's journal"`
	FromHead     machine.Hash `cbor:"3,keyasint" json:"fromHead" doc:"hash chain over them"`
	Backup       machine.ID   `cbor:"4,keyasint" json:"backup" doc:"id of the backup"`
	Why          string       `cbor:"5,keyasint" json:"why" doc:"why the books were put back, for everybody"`
	At           int64        `cbor:"6,keyasint" json:"at" doc:"when, Unix milliseconds"`
	// Host is the one machine that keeps the books from here on; those of the backup's time are lost.
	Host []byte `cbor:"7,keyasint,omitempty" json:"host,omitempty" doc:"the new machine's public key"`
}

// Check implements machine.Checker.
func (b Open) Check() error {
	if !utf8.ValidString(b.Why) || utf8.RuneCountInString(b.Why) > MaxWhyRunes ||
		strings.ContainsFunc(b.Why, unicode.IsControl) {
		return machine.Refuse("bad_text", "Say why in at most %d characters of one line.", MaxWhyRunes)
	}
	if b.At <= 0 {
		return machine.Refuse("bad_time", "Say when the books were put back.")
	}
	if len(b.Host) != 0 {
		return replicas.CheckHost(b.Host)
	}
	return nil
}

// Epoch is one restart of the circle's history from a backup. Epoch 0, from the founding on, has no row.
type Epoch struct {
	Epoch        uint64       `cbor:"1,keyasint" json:"epoch"`
	FromPosition uint64       `cbor:"2,keyasint" json:"fromPosition"`
	FromHead     machine.Hash `cbor:"3,keyasint" json:"fromHead"`
	Backup       machine.ID   `cbor:"4,keyasint" json:"backup"`
	Why          string       `cbor:"5,keyasint" json:"why"`
	At           int64        `cbor:"6,keyasint" json:"at"`   // when the restore was chosen
	AsOf         int64        `cbor:"7,keyasint" json:"asOf"` // ledger time of the newest command it kept
}

// Epochs are all epochs after the first, oldest first.
type Epochs struct {
	Epochs []Epoch `json:"epochs"`
}

var epochs = machine.NewTable[Epoch]("timeline", "epoch")

// Feature returns the feature's rules and views.
func Feature() machine.Feature {
	restorer := machine.AnyOf(machine.Only(machine.ActorOperator), machine.Only(machine.ActorNode))
	return machine.Feature{
		Name: "timeline",
		Rules: []machine.Rule{
			machine.Do("timeline.open", "Begin a new epoch after the books were put back from a backup.",
				restorer, open),
		},
		Views: []machine.View{
			machine.Ask("timeline.epochs", "When the circle's books were put back from a backup.",
				member.Reading, func(rd machine.Read, _ machine.None) (Epochs, error) {
					return Epochs{Epochs: All(rd)}, nil
				}),
		},
	}
}

// All returns the epochs after the first, oldest first.
func All(r machine.Reader) []Epoch {
	out := []Epoch{}
	for _, e := range epochs.All(r, nil, nil) {
		out = append(out, e)
	}
	return out
}

// Newest returns the epoch the circle is in; the zero Epoch before any restore.
func Newest(r machine.Reader) Epoch {
	for _, e := range epochs.Latest(r, nil, nil) {
		return e
	}
	return Epoch{}
}

func open(tx *machine.Tx, b Open) (machine.None, error) {
	if _, ok := member.TheCircle(tx); !ok {
		return machine.None{}, machine.Refuse("not_founded", "There is no circle here yet.")
	}
	all := All(tx)
	newest := Newest(tx).Epoch
	at := machine.ReadMeta(tx) // as it was before this command
	switch {
	case b.Epoch <= newest || b.Epoch > newest+MaxEpochs:
		return machine.None{}, machine.Refuse("epoch_not_next",
			"This circle is in epoch %d, so %d cannot be its next.", newest, b.Epoch)
	case len(all) >= MaxEpochs:
		return machine.None{}, machine.Refuse("too_many",
			"The books were put back %d times, the most there can be.", MaxEpochs)
	case len(b.Host) > 0 && tx.Caller().Actor != machine.ActorNode:
		return machine.None{}, machine.Refuse("not_allowed",
			"Only the machine on which the books were put back says that it keeps them alone.")
	case b.FromPosition != at.Position || b.FromHead != at.Head:
		return machine.None{}, machine.Refuse("not_at_fork",
			"The epoch is to begin after command %d of the journal, which is at command %d: it is of another"+
				" backup, or something was done since.", b.FromPosition, at.Position)
	}
	epochs.Put(tx, machine.Key{}.Num(b.Epoch), Epoch{
		Epoch: b.Epoch, FromPosition: b.FromPosition, FromHead: b.FromHead, Backup: b.Backup, Why: b.Why,
		At: b.At, AsOf: at.At,
	})
	if len(b.Host) > 0 {
		replicas.Restart(tx, b.Host)
	}
	tx.Emit(machine.Event{
		Kind: "timeline.opened", Audience: []string{machine.AudienceCircle}, Words: b.Why,
	})
	return machine.None{}, nil
}
