package store

import (
	"errors"
	"fmt"
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
)

// String returns the state as a word.
func (s SpaceState) String() string {
	if s == SpaceLow {
		return "low"
	}
	return "ok"
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
	low     bool
}

// NewSpace makes a Space for a node's directory. The ballast has 64 MiB if bytes is 0, none if it is less.
func NewSpace(dir string, bytes int64) *Space {
	if bytes == 0 {
		bytes = defaultBallast
	}
	return &Space{dir: dir, ballast: max(bytes, 0), margin: spaceMargin}
}

// Check looks at the free space: what is free, and how much of that must stay so. Once low it stays low until
// a quarter more than the margin is free, lest it go to and fro. Where there is room for the ballast as well
// it is made, or made again.
func (s *Space) Check() (state SpaceState, free, margin int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if free, err = freeSpace(s.dir); err != nil {
		return SpaceLow, 0, s.margin, err
	}
	enough := s.margin
	if s.low {
		enough += s.margin / 4
	}
	s.low = free < enough
	if s.low {
		return SpaceLow, free, s.margin, nil
	}
	if free-s.ballast >= s.margin+s.margin/4 {
		made, err := s.keepBallast()
		if err != nil {
			return SpaceOK, free, s.margin, err
		}
		free -= made
	}
	return SpaceOK, free, s.margin, nil
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

// checkSpace returns an error if the disk that holds dir has less than need bytes free.
func checkSpace(dir string, need int64) error {
	free, err := freeSpace(dir)
	if err == nil && free < need {
		err = fmt.Errorf("disk full: %s has %d MiB free, needs %d: free some space and start again,"+
			" nothing is lost", dir, free>>20, need>>20)
	}
	return err
}
