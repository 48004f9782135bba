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
// person here whom it is for. What cannot be opened is left out: it must not stop the coins.
func (l *letters) openMemos(
	ctx context.Context, id machine.ID, records []letter.Signed, keys []courier.MemoKey,
) ([]exchange.Words, error) {
	var out []exchange.Words
	for _, s := range records {
		m, ok := exchange.MemoIn(s.Bytes)
		if !ok {
			continue
		}
		for _, k := range keys {
			if k.Seq != m.Seq {
				continue
			}
			clear, err := vault.OpenLetter(vault.Secret(k.Key), m.Data)
			if err != nil {
				continue
			}
			words, ok := m.Tell(clear)
			if !ok {
				continue
			}
			if words, ok, err = l.reseal(ctx, id, m, words); err != nil {
				return nil, err
			}
			if ok {
				out = append(out, words)
			}
			break
		}
	}
	return out, nil
}

// reseal seals an opened note under the key of whom it is for; false where that is nobody here.
func (l *letters) reseal(
	ctx context.Context, id machine.ID, m exchange.SealedMemo, words exchange.Words,
) (exchange.Words, bool, error) {
	var person string
	var known bool
	err := l.circle.Read(func(r machine.Reader) error {
		person, known = exchange.WhoHas(r, m.Code)
		return nil
	})
	if err != nil || !known {
		return words, false, err
	}
	words.Note.Of = person
	words.Note, err = l.sealer.under(ctx, id, person, fmt.Sprint("words ", m.Seq), words.Note)
	return words, true, err
}
