package backup

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"time"

	"filippo.io/age"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/store"
)

// A backup file:
//
//	head      "carecircle backup 1", line end
//	body      sealed with age: the length of the contents (8 bytes, big-endian), the contents as JSON, the
//	          state as node/store writes a snapshot
//	manifest  one line of JSON, signed by the circle
//	foot      length of the manifest in 8 digits, " carecircle backup ends", line end
//
// The manifest comes last since it names the body's hash, and the body is written as it is made.
const (
	fileHead         = "carecircle backup 1\n"
	footFormat       = "%08d carecircle backup ends\n"
	maxManifestBytes = 1 << 20
	maxContentBytes  = 64 << 20
)

var footBytes = len(fmt.Sprintf(footFormat, 0))

// Contents are what a circle needs beside its state to live again.
type Contents struct {
	Config json.RawMessage `json:"config"` // the node's config.json
	// Secrets are files of the node's directory, by name: the circle's key, and what later opens sealed
	// rows. What belongs to one machine is never among them.
	Secrets map[string][]byte `json:"secrets"`
}

// Job is one backup to be made.
type Job struct {
	Config   Config
	Key      ed25519.PrivateKey // the circle's
	Contents Contents
	State    io.WriterTo  // writes the state as a snapshot of node/store
	Index    uint64       // of the newest log entry in it
	Term     uint64       // of the log
	Meta     machine.Meta // where the state stands
	Epochs   History
	Now      time.Time
	Program  string
	Progress func(bytes int64) // nil: nobody looks
}

// Write makes the backup. While it writes the state it reads it back: a state whose rows, journal and
// position do not agree gives an error and no backup.
func Write(ctx context.Context, w io.Writer, j Job) (Manifest, error) {
	m := Manifest{
		Format: manifestFormat, Signer: signerOf(j.Key), Index: j.Index, Term: j.Term,
		Position: j.Meta.Position, Head: j.Meta.Head, Epochs: j.Epochs, MadeAt: j.Now.UnixMilli(),
		ExpiresAt: j.Now.Add(j.Config.Keep()).UnixMilli(), Program: j.Program,
	}
	_, _ = rand.Read(m.ID[:]) // cannot fail
	recipients, err := j.Config.recipients()
	if err != nil {
		return m, fmt.Errorf("make a backup: %w", err)
	}
	if _, err := io.WriteString(w, fileHead); err != nil {
		return m, fmt.Errorf("make a backup: %w", err)
	}
	body := &counted{ctx: ctx, w: w, hash: sha256.New(), progress: j.Progress}
	if err := j.seal(body, recipients, &m); err != nil {
		return m, fmt.Errorf("make a backup: %w", err)
	}
	m.SealedBytes, m.SealedSHA256 = body.n, machine.Hash(body.hash.Sum(nil))
	line, err := sign(letter.ForBackup, j.Key, m)
	if err == nil && len(line) > maxManifestBytes {
		err = fmt.Errorf("a manifest of %d bytes, at most %d", len(line), maxManifestBytes)
	}
	if err == nil {
		_, err = w.Write(fmt.Appendf(line, footFormat, len(line)))
	}
	if err != nil {
		return m, fmt.Errorf("make a backup: %w", err)
	}
	return m, nil
}

// seal writes the body and fills in what the manifest says of the state.
func (j Job) seal(w io.Writer, recipients []age.Recipient, m *Manifest) error {
	sealed, err := age.Encrypt(w, recipients...)
	if err != nil {
		return err
	}
	contents, err := json.Marshal(j.Contents)
	if err != nil {
		return err
	}
	if len(contents) > maxContentBytes {
		return fmt.Errorf("the secrets have %d MB, at most %d MB fit", len(contents)>>20, maxContentBytes>>20)
	}
	_, err = sealed.Write(append(binary.BigEndian.AppendUint64(nil, uint64(len(contents))), contents...))
	if err != nil {
		return err
	}
	back, check := io.Pipe()
	found := make(chan error, 1)
	go func() {
		err := m.take(back)
		_ = back.CloseWithError(err) // never fails
		found <- err
	}()
	_, err = j.State.WriteTo(io.MultiWriter(sealed, check))
	_ = check.CloseWithError(err) // never fails; nil is the end
	if readErr := <-found; err == nil {
		err = readErr // else it ended because of err, or is what err says
	}
	if err != nil {
		return err
	}
	return sealed.Close()
}

// take reads the state and fills in what the manifest says of its rows, if they say the same of it.
func (m *Manifest) take(from io.Reader) error {
	tally := machine.NewTally()
	index, rows, sum, err := store.ReadSnapshot(from, func(key, value []byte) error {
		tally.Add(key, value)
		return nil
	})
	if err != nil {
		return err
	}
	meta, proved := tally.Meta()
	if index != m.Index || meta.Position != m.Position || meta.Head != m.Head || !proved {
		return fmt.Errorf("the state does not hold together: it is at log entry %d, command %d, where entry"+
			" %d, command %d were expected, or its journal is not whole: restore from a replica or a backup",
			index, meta.Position, m.Index, m.Position)
	}
	m.Rows, m.Sum, m.StateHash = rows, sum, tally.StateHash()
	return nil
}

// counted counts and hashes what goes through, and stops when ctx ends.
type counted struct {
	ctx      context.Context
	w        io.Writer
	hash     hash.Hash
	n        int64
	progress func(int64)
}

func (c *counted) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.w.Write(p)
	_, _ = c.hash.Write(p[:n]) // cannot fail
	c.n += int64(n)
	if c.progress != nil {
		c.progress(c.n)
	}
	return n, err
}
