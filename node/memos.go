package node

import (
	"context"
	"fmt"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/vault"
)

// memoKey makes the key that goes beside a record of ours with a sealed memo. Once the payer is erased there
// is none any more, and the coins go without words.
func (l *letters) memoKey(r machine.Reader, to letter.CircleID, raw []byte) (courier.MemoKey, bool) {
	m, ok := exchange.MemoIn(raw)
	if !ok {
		return courier.MemoKey{}, false
	}
	payer, ok := exchange.Payer(r, to, m.Payment)
	if !ok {
		return courier.MemoKey{}, false
	}
	own, err := l.sealer.key(r, payer)
	if err != nil {
		return courier.MemoKey{}, false
	}
	key := vault.LetterKey(own, m.Payment)
	return courier.MemoKey{Seq: m.Seq, Key: key[:]}, true
}

// openMemos opens the sealed memos of a peer's records and seals their notes again, each under the key of the
// person here whom it is for, and a note to ourselves of who that is. What cannot be opened is left out: it
// must not stop the coins.
func (l *letters) openMemos(
	ctx context.Context, id machine.ID, records []letter.Signed, keys []courier.MemoKey,
) ([]exchange.Words, error) {
	var out []exchange.Words
	for _, s := range records {
		seq, code, ok := exchange.CodeIn(s.Bytes)
		if !ok {
			continue
		}
		person, known, err := l.whoHas(code)
		if err != nil {
			return nil, err
		}
		if !known {
			continue
		}
		words := exchange.Words{Seq: seq}
		if opened, ok := openMemo(s.Bytes, keys); ok {
			words = opened
			words.Note.Of = person
			place := fmt.Sprint("words ", seq)
			if words.Note, err = l.sealer.under(ctx, id, person, place, words.Note); err != nil {
				return nil, err
			}
		}
		words.Person = person
		self := machine.Text(machine.OfCircle, person)
		place := fmt.Sprint("self ", seq)
		if words.Self, err = l.sealer.under(ctx, id, machine.OfCircle, place, self); err != nil {
			return nil, err
		}
		out = append(out, words)
	}
	return out, nil
}

// openMemo opens the sealed memo in a record, if there is one and its key came with it.
func openMemo(raw []byte, keys []courier.MemoKey) (exchange.Words, bool) {
	m, ok := exchange.MemoIn(raw)
	if !ok {
		return exchange.Words{}, false
	}
	for _, k := range keys {
		if k.Seq != m.Seq {
			continue
		}
		clear, err := vault.OpenLetter(vault.Secret(k.Key), m.Data)
		if err != nil {
			continue
		}
		if words, ok := m.Tell(clear); ok {
			return words, true
		}
	}
	return exchange.Words{}, false
}

func (l *letters) whoHas(code string) (person string, known bool, err error) {
	err = l.circle.Read(func(r machine.Reader) error {
		person, known = exchange.WhoHas(r, code)
		return nil
	})
	return person, known, err
}

// openNotes opens the notes to ourselves in records.
func (l *letters) openNotes(records []letter.Signed) ([]exchange.Opened, error) {
	seqs, notes := exchange.NotesIn(l.keys.CircleID(), records)
	var out []exchange.Opened
	err := l.circle.Read(func(r machine.Reader) error {
		for i, note := range notes {
			if clear, ok := l.sealer.open(r, note); ok {
				out = append(out, exchange.Opened{Seq: seqs[i], Person: string(clear)})
			}
		}
		return nil
	})
	return out, err
}
