package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// SpaceState says whether a node may go on writing.
type SpaceState int

const (
	// SpaceOK says that there is room for all that the stores may write before the next look.
	SpaceOK SpaceState = iota
	// SpaceLow says that writes must stop. Reads go on.
	SpaceLow
	// SpaceFull says that the process must end before it touches a mapped file again.
	SpaceFull
)

// String returns the state as a word.
func (s SpaceState) String() string {
	switch s {
	case SpaceLow:
		return "low"
	case SpaceFull:
		return "full"
	default:
		return "ok"
	}
}

const (
	ballastFile    = "ballast"
	defaultBallast = 64 << 20

	// spaceMargin is what must stay free: what both stores and raft may write between two looks and while
	// they are brought to rest. Badger writes into mapped files whose space is only taken as they are
	// written, and a full disk then ends the process by SIGBUS. It may have two memtables to write out,
	// each to a table and through a compaction, and its write-ahead file to fill; raft's log takes a
	// segment at once.
	spaceMargin = 3*(2*stateMemTable) + 2*segmentBytes
)

// Space looks after the free space of the disk a node's directory is on. It keeps a ballast there: a file
// that does nothing but take room, and is deleted when the disk is full, so that there is some to put things
// right in. Many goroutines may use it.
type Space struct {
	dir     string
	ballast int64
	margin  int64
	mu      sync.Mutex
	state   SpaceState
}

// NewSpace makes a Space for a node's directory. The ballast has 64 MiB if bytes is 0, none if it is less.
func NewSpace(dir string, bytes int64) *Space {
	if bytes == 0 {
		bytes = defaultBallast
	}
	return &Space{dir: dir, ballast: max(bytes, 0), margin: spaceMargin, state: SpaceFull}
}

// Check looks at the free space: what is free, and how much of that must stay so. It is full once half of the
// margin is used up. Once low or full, and at the first look, it stays so until a quarter of the margin more
// is free, lest it go to and fro. Where there is room for the ballast as well it is made, or made again.
func (s *Space) Check() (state SpaceState, free, margin int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if free, err = freeSpace(s.dir); err != nil {
		return SpaceFull, 0, s.margin, err
	}
	more := s.margin / 4
	full, low := s.margin/2, s.margin
	if s.state == SpaceFull {
		full += more
	}
	if s.state != SpaceOK {
		low += more
	}
	switch {
	case free < full:
		s.state = SpaceFull
	case free < low:
		s.state = SpaceLow
	default:
		s.state = SpaceOK
	}
	if s.state == SpaceOK && free-s.ballast >= s.margin+more {
		made, err := s.keepBallast()
		if err != nil {
			return SpaceOK, free, s.margin, err
		}
		free -= made
	}
	return s.state, free, s.margin, nil
}

// Ballast returns how many bytes the ballast takes now.
func (s *Space) Ballast() int64 {
	info, err := os.Stat(s.path())
	if err != nil {
		return 0
	}
	return info.Size()
}

func (s *Space) path() string { return filepath.Join(s.dir, ballastFile) }

// keepBallast makes the ballast if it is not there, and returns how much space that took. A half-made one
// has another name, and is begun again.
func (s *Space) keepBallast() (made int64, err error) {
	if s.ballast == 0 || exists(s.path()) {
		return 0, nil
	}
	f, err := os.OpenFile(s.path()+unbornSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, fmt.Errorf("make the ballast: %w", err)
	}
	err = errors.Join(preallocate(f, s.ballast), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(s.path()+unbornSuffix, s.path())
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("make the ballast: %w", err), remove(s.path()+unbornSuffix))
	}
	return s.ballast, nil
}

// Release deletes the ballast: the way out of a full disk. Check makes it again once there is room.
func (s *Space) Release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(remove(s.path()), remove(s.path()+unbornSuffix)); err != nil {
		return fmt.Errorf("give the ballast's space back: %w", err)
	}
	return nil
}

// ErrFull says that a disk has too little room left.
var ErrFull = errors.New("disk full")

// RoomFor passes on what is written to w while the disk that holds dir has more room than must stay free;
// then it returns ErrFull. So a large file ends before the disk does.
func RoomFor(w io.Writer, dir string) io.Writer { return &roomy{dir: dir, w: w} }

// RoomWhile is RoomFor for what is read from r and written to that disk.
func RoomWhile(r io.Reader, dir string) io.Reader { return &roomy{dir: dir, r: r} }

const roomLook = 1 << 20 // bytes between two looks at the disk

type roomy struct {
	dir  string
	w    io.Writer
	r    io.Reader
	left int // bytes until the next look
}

// Write implements io.Writer.
func (r *roomy) Write(p []byte) (int, error) {
	if err := r.look(); err != nil {
		return 0, err
	}
	n, err := r.w.Write(p)
	r.left -= n
	return n, err
}

// Read implements io.Reader.
func (r *roomy) Read(p []byte) (int, error) {
	if err := r.look(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	r.left -= n
	return n, err
}

func (r *roomy) look() error {
	if r.left > 0 {
		return nil
	}
	r.left = roomLook
	return checkSpace(r.dir, spaceMargin)
}

// checkSpace returns an error if the disk that holds dir has less than need bytes free.
func checkSpace(dir string, need int64) error {
	free, err := freeSpace(dir)
	if err == nil && free < need {
		err = fmt.Errorf("%w: %s has %d MiB free, needs %d: free some space and start again,"+
			" nothing is lost", ErrFull, dir, free>>20, need>>20)
	}
	return err
}
