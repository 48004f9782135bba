package backup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"filippo.io/age"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/store"
)

// ErrIdentity says that an identity is none of those a backup was sealed to.
var ErrIdentity = errors.New("this identity does not open the backup: give the identity file of one of the" +
	" recipients that were in config.json when it was made")

// File is a backup on disk whose manifest was read and checked. Close it.
type File struct {
	Path     string
	Manifest Manifest
	f        *os.File
}

// Open opens a backup and checks its manifest, its ends and its length; not yet its body. ErrDamaged says
// that it is not as it was written.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the backup: %w", err)
	}
	m, err := readManifest(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the backup %s: %w", path, err), f.Close())
	}
	return &File{Path: path, Manifest: m, f: f}, nil
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

func readManifest(f *os.File) (Manifest, error) {
	info, err := f.Stat()
	if err != nil {
		return Manifest{}, err
	}
	size := info.Size()
	if size < int64(len(fileHead)+footBytes) {
		return Manifest{}, damaged("it is no backup, or was cut off")
	}
	head, foot := make([]byte, len(fileHead)), make([]byte, footBytes)
	_, headErr := f.ReadAt(head, 0)
	_, footErr := f.ReadAt(foot, size-int64(footBytes))
	if err := errors.Join(headErr, footErr); err != nil {
		return Manifest{}, err
	}
	if string(head) != fileHead {
		return Manifest{}, damaged("it does not begin as a backup does")
	}
	digits, _, _ := strings.Cut(string(foot), " ")
	n, err := strconv.Atoi(digits)
	if err != nil || fmt.Sprintf(footFormat, n) != string(foot) {
		return Manifest{}, damaged("it does not end as a backup does: it was cut off or changed")
	}
	if n < 0 || n > maxManifestBytes || int64(n) > size-int64(len(fileHead)+footBytes) {
		return Manifest{}, damaged("a manifest of %d bytes does not fit in", n)
	}
	line := make([]byte, n)
	if _, err := f.ReadAt(line, size-int64(footBytes+n)); err != nil {
		return Manifest{}, err
	}
	m, err := open[Manifest](letter.ForBackup, line)
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	if rest := size - int64(len(fileHead)+n+footBytes); rest != m.SealedBytes {
		return Manifest{}, damaged("it holds %d sealed bytes, the manifest says %d", rest, m.SealedBytes)
	}
	return m, nil
}

func (f *File) body() *io.SectionReader {
	return io.NewSectionReader(f.f, int64(len(fileHead)), f.Manifest.SealedBytes)
}

// CheckBody reads the sealed body and compares it with the manifest.
func (f *File) CheckBody(ctx context.Context) error {
	h := &counted{ctx: ctx, w: io.Discard, hash: sha256.New()}
	if _, err := io.Copy(h, f.body()); err != nil {
		return fmt.Errorf("read the backup %s: %w", f.Path, err)
	}
	if machine.Hash(h.hash.Sum(nil)) != f.Manifest.SealedSHA256 {
		return fmt.Errorf("read the backup %s: %w", f.Path, damaged("its sealed body was changed"))
	}
	return nil
}

// Unseal opens the body: the contents, then the state to be read to its end.
func (f *File) Unseal(id Identity) (Contents, io.Reader, error) {
	var c Contents
	plain, err := age.Decrypt(f.body(), id...)
	var noMatch *age.NoIdentityMatchError
	if errors.As(err, &noMatch) {
		return c, nil, ErrIdentity
	}
	if err != nil {
		return c, nil, damaged("the seal cannot be opened: %w", err)
	}
	var size [8]byte
	if _, err := io.ReadFull(plain, size[:]); err != nil {
		return c, nil, damaged("the sealed body: %w", err)
	}
	n := binary.BigEndian.Uint64(size[:])
	if n > maxContentBytes {
		return c, nil, damaged("contents of %d bytes", n)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(plain, raw); err != nil {
		return c, nil, damaged("the sealed body: %w", err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, nil, damaged("the contents cannot be read: %w", err)
	}
	return c, plain, nil
}

// ReadState reads a state out of the body and compares it with the manifest.
func (m Manifest) ReadState(from io.Reader, row func(key, value []byte) error) error {
	tally := machine.NewTally()
	index, rows, sum, err := store.ReadSnapshot(from, func(key, value []byte) error {
		tally.Add(key, value)
		return row(key, value)
	})
	if err != nil {
		return damaged("%w", err)
	}
	meta, proved := tally.Meta()
	switch {
	case index != m.Index || rows != m.Rows || sum != m.Sum:
		return damaged("%d rows at log entry %d, the manifest says %d at %d, or their sums differ", rows,
			index, m.Rows, m.Index)
	case meta.Position != m.Position || meta.Head != m.Head || !proved:
		return damaged("the journal does not make the chain that the manifest names")
	case tally.StateHash() != m.StateHash:
		return damaged("the state's hash is not the manifest's")
	}
	return nil
}
