package backup

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/letter"
)

// manifestFormat and noteFormat name the layouts.
const (
	manifestFormat = "carecircle backup v1"
	noteFormat     = "carecircle restored v1"
)

// ErrDamaged marks errors that say a file is not as it was written.
var ErrDamaged = errors.New("damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// Signer is the circle that signed something, by the key that gives it its id.
type Signer struct {
	Circle letter.CircleID   `json:"circle"`
	Key    ed25519.PublicKey `json:"key"`
}

func signerOf(key ed25519.PrivateKey) Signer {
	public := key.Public().(ed25519.PublicKey)
	return Signer{Circle: letter.CircleIDOf(public), Key: public}
}

// Manifest is what a backup says of itself in clear: enough to check it and to know where it belongs, and
// nothing about people.
type Manifest struct {
	Format string     `json:"format"`
	ID     machine.ID `json:"id"`
	Signer
	Index        uint64       `json:"index"`    // of the newest log entry in the state
	Term         uint64       `json:"term"`     // of the log at that time
	Position     uint64       `json:"position"` // commands in the journal
	Head         machine.Hash `json:"head"`     // hash chain over them
	StateHash    machine.Hash `json:"stateHash"`
	Rows         uint64       `json:"rows"` // of the state
	Sum          uint64       `json:"sum"`  // over their hashes
	Epochs       History      `json:"epochs"`
	MadeAt       int64        `json:"madeAt"`    // Unix milliseconds
	ExpiresAt    int64        `json:"expiresAt"` // may be deleted from then on
	SealedBytes  int64        `json:"sealedBytes"`
	SealedSHA256 machine.Hash `json:"sealedSha256"`
	Program      string       `json:"program"` // version that made it
}

// Note says that a backup was restored, and that a new epoch of the circle begins with it.
type Note struct {
	Format string `json:"format"`
	Signer
	Epochs History `json:"epochs"` // the last one is that which begins
	Why    string  `json:"why"`
}

// Mark is the beginning of an epoch.
type Mark struct {
	Epoch        uint64       `json:"epoch"`
	FromPosition uint64       `json:"fromPosition"`
	FromHead     machine.Hash `json:"fromHead"`
	Backup       machine.ID   `json:"backup"`
	At           int64        `json:"at"` // Unix milliseconds
}

// History is the epochs after the first that lead up to a state, oldest first.
type History []Mark

// HistoryOf returns the history of a state.
func HistoryOf(epochs []timeline.Epoch) History {
	out := History{}
	for _, e := range epochs {
		out = append(out, Mark{
			Epoch: e.Epoch, FromPosition: e.FromPosition, FromHead: e.FromHead, Backup: e.Backup, At: e.At,
		})
	}
	return out
}

// Newest returns the epoch a state is in; the zero Mark for epoch 0.
func (h History) Newest() Mark {
	if len(h) == 0 {
		return Mark{}
	}
	return h[len(h)-1]
}

func (m Manifest) signer() (string, string, Signer) { return m.Format, manifestFormat, m.Signer }
func (n Note) signer() (string, string, Signer)     { return n.Format, noteFormat, n.Signer }

// statement is what a circle signs here.
type statement interface {
	signer() (format, want string, by Signer)
}

// signed is a statement on disk: one line of JSON, in its one spelling.
type signed struct {
	Said      json.RawMessage `json:"said"`
	Signature []byte          `json:"signature"`
}

func sign(purpose letter.Purpose, key ed25519.PrivateKey, s statement) ([]byte, error) {
	said, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(signed{Said: said, Signature: purpose.Sign(key, said)})
	return append(raw, '\n'), err
}

// open reads what sign wrote. Every byte of it counts.
func open[S statement](purpose letter.Purpose, raw []byte) (S, error) {
	var s S
	var line signed
	if err := oneSpelling(raw, &line); err != nil {
		return s, err
	}
	if err := oneSpelling(append(bytes.Clone(line.Said), '\n'), &s); err != nil {
		return s, err
	}
	format, want, by := s.signer()
	switch {
	case format != want:
		return s, damaged("it says %.60q; this program reads %q", format, want)
	case letter.CircleIDOf(by.Key) != by.Circle:
		return s, damaged("the circle's id is not the one of its key")
	case purpose.Verify(by.Key, line.Said, line.Signature) != nil:
		return s, damaged("the circle's signature does not fit")
	}
	return s, nil
}

func oneSpelling(raw []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return damaged("it cannot be read: %w", err)
	}
	again, err := json.Marshal(into)
	if err != nil || !bytes.Equal(append(again, '\n'), raw) {
		return damaged("it is not spelled as it was written")
	}
	return nil
}
