package backup

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/ledger"
)

// CircleKey names the circle's key among the secrets.
const CircleKey = "circle.key"

// Check is one thing that was checked.
type Check struct {
	What  string `json:"what"`
	OK    bool   `json:"ok"`
	Found string `json:"found"`
}

// Report is what a check of a backup found.
type Report struct {
	File     string   `json:"file"`
	Manifest Manifest `json:"manifest"` // empty where it cannot be read
	Full     bool     `json:"full"`     // it was opened and all of it checked
	Checks   []Check  `json:"checks"`
}

// Wrong returns how many checks found something wrong.
func (r Report) Wrong() int {
	n := 0
	for _, c := range r.Checks {
		if !c.OK {
			n++
		}
	}
	return n
}

// took notes the outcome of a check, and tells whether the next one can be made.
func (r *Report) took(what string, err error, format string, args ...any) bool {
	c := Check{What: what, OK: err == nil, Found: fmt.Sprintf(format, args...)}
	if err != nil {
		c.Found = err.Error()
	}
	r.Checks = append(r.Checks, c)
	return c.OK
}

// Verify checks a backup: its manifest and the hash of its body, and with an identity everything in it: the
// state is rebuilt in memory and compared with the manifest, the journal is replayed from empty and must
// give the same state, and the books are audited. What is wrong is in the report; an error says that it
// could not be looked at, or that the identity is another one.
func Verify(ctx context.Context, path string, id Identity) (Report, error) {
	r := Report{File: path, Checks: []Check{}}
	f, err := Open(path)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return r, err
	}
	if !r.took("manifest", err, "whole, and signed by the circle") {
		return r, nil
	}
	defer f.Close() //nolint:errcheck // only read
	r.Manifest = f.Manifest
	if err = f.CheckBody(ctx); err != nil && !errors.Is(err, ErrDamaged) {
		return r, err
	}
	if !r.took("sealed body", err, "%d bytes, unchanged", f.Manifest.SealedBytes) || id == nil {
		return r, nil
	}
	r.Full = true
	state, err := r.unseal(f, id)
	if err != nil || state == nil {
		return r, err
	}
	return r, r.judge(ctx, state)
}

// unseal opens the body and rebuilds the state; nil: something is wrong with it.
func (r *Report) unseal(f *File, id Identity) (*machine.Mem, error) {
	contents, from, err := f.Unseal(id)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, err
	}
	if !r.took("seal", err, "opened with the identity") {
		return nil, nil
	}
	if !r.took("contents", contents.Check(f.Manifest.Signer), "the circle's key and the node's config") {
		return nil, nil
	}
	state := machine.NewMem()
	err = f.Manifest.ReadState(from, func(key, value []byte) error {
		state.Set(key, value)
		return nil
	})
	m := f.Manifest
	if !r.took("state", err, "%d rows at log entry %d, with the count, sum and hash that the manifest names",
		m.Rows, m.Index) {
		return nil, nil
	}
	return state, nil
}

// judge checks what the state holds.
func (r *Report) judge(ctx context.Context, state *machine.Mem) error {
	m := r.Manifest
	r.took("journal", checkEpochs(state, m), "%d commands, chained from the first to the last", m.Position)
	err := replay(ctx, state, m)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.took("replay", err, "the journal played from empty gives the same state")
	report, err := audit(state)
	r.took("books", err, "%d entries in %d accounts, sum 0", report.Entries, report.Accounts)
	return nil
}

// Check says what is wrong with the contents of a backup of a circle.
func (c Contents) Check(by Signer) error {
	seed, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(string(c.Secrets[CircleKey])))
	switch {
	case err != nil || len(seed) != ed25519.SeedSize:
		return errors.New("the circle's key is missing or damaged")
	case !bytes.Equal(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey), by.Key):
		return errors.New("the key in it is not that of the circle that signed")
	case len(c.Config) == 0:
		return errors.New("the node's config is missing")
	}
	return nil
}

// checkEpochs checks that the epochs of the manifest are the state's, and each begins where the journal
// says; the chain itself was checked while the state was read.
func checkEpochs(state machine.Reader, m Manifest) error {
	at := HistoryOf(timeline.All(state))
	if len(at) != len(m.Epochs) {
		return fmt.Errorf("the state knows %d epochs, the manifest %d", len(at), len(m.Epochs))
	}
	for i := range at {
		if at[i] != m.Epochs[i] {
			return fmt.Errorf("epoch %d of the state is not that of the manifest", at[i].Epoch)
		}
	}
	var head machine.Hash
	machine.Journal(state, 1, func(position uint64, raw []byte) bool {
		head = machine.ChainHash(head, raw)
		for len(at) > 0 && at[0].FromPosition == position && at[0].FromHead == head {
			at = at[1:]
		}
		return true
	})
	if len(at) > 0 {
		return fmt.Errorf("epoch %d does not begin where the journal has it", at[0].Epoch)
	}
	return nil
}

func replay(ctx context.Context, state machine.Reader, m Manifest) error {
	rules, err := circle.New()
	if err != nil {
		return err
	}
	again := machine.NewMem()
	machine.Journal(state, 1, func(position uint64, raw []byte) bool {
		if err = ctx.Err(); err == nil {
			_, err = rules.Apply(again, raw)
		}
		if err != nil {
			err = fmt.Errorf("command %d: %w", position, err)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	hash := machine.StateHash(again)
	if hash != m.StateHash || machine.ReadMeta(again) != machine.ReadMeta(state) {
		return fmt.Errorf("the journal played from empty gives another state (hash %s, not %s): it was made"+
			" by another version of the rules, or was tampered with", hash, m.StateHash)
	}
	return nil
}

func audit(state machine.Reader) (ledger.Report, error) {
	books := coin.ReadBooks(state)
	report, err := ledger.Audit(books)
	if err != nil {
		return report, fmt.Errorf("the coin book cannot be audited: %w", err)
	}
	if len(report.Findings) > 0 {
		return report, fmt.Errorf("coin book: %s (and %d more)", report.Findings[0], len(report.Findings)-1)
	}
	sum := int64(0)
	books.Accounts(coin.Book, func(a ledger.Account) bool {
		sum += a.Posted
		return true
	})
	if sum != 0 {
		return report, fmt.Errorf("the coin book sums to %d minutes, not to 0", sum)
	}
	return report, nil
}
