package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrDamaged says that a store's files are not as they were written, while the disk was read without an
// error: the node can be healed from its peers or a backup, by removing what it has.
var ErrDamaged = errors.New("damaged")

// ErrApart says that state, log and snapshots do not belong together, or that one of them lacks what the
// others need. All three may be whole, each of another node or time.
var ErrApart = errors.New("log, state and snapshots do not belong together")

// ErrKey says that a store was made with another key. A flipped bit may make it say so; whoever knows the key
// to be right knows more.
var ErrKey = errors.New("the encryption key is not the one it was made with")

const healAdvice = "keep a copy, then restore this node from a replica or a backup"

// damaged is the error for an entry that is not as it was stored.
func damaged(index uint64, cause error) error {
	return fmt.Errorf("log entry %d is %w: %w: run carecircle verify, then restore this node from a"+
		" replica or a backup", index, ErrDamaged, cause)
}

// OpenLog opens the log in cfg.Dir, making it if absent; one in the format before this is carried over.
// The error says what to do; ErrDamaged is one to heal.
func OpenLog(cfg LogConfig) (*Log, error) {
	if cfg.Dir == "" {
		return nil, errors.New("open log: no directory given")
	}
	if n := len(cfg.EncryptionKey); n != 0 && n != KeyBytes {
		return nil, fmt.Errorf("open log %s: the key has %d bytes, must have %d", cfg.Dir, n, KeyBytes)
	}
	cfg.Log = orDefault(cfg.Log)
	if cfg.segmentBytes == 0 {
		cfg.segmentBytes = segmentBytes
	}
	guard, err := lockBeside(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer guard.Close() //nolint:errcheck // opened for its lock only
	if err := convertLog(cfg); err != nil {
		return nil, fmt.Errorf("open log %s: %w", cfg.Dir, err)
	}
	return openLog(cfg)
}

// openLog opens the directory as it is.
func openLog(cfg LogConfig) (*Log, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open log: make the directory (check the owner of its parent): %w", err)
	}
	if err := checkSpace(cfg.Dir, minFreeBytes); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{dir: cfg.Dir, log: cfg.Log, master: cfg.EncryptionKey, reserve: cfg.segmentBytes}
	l.faults = newFaults(cfg.Fatal, cfg.Log)
	var err error
	if l.stable, err = newSlots(l.master); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if l.lock, err = lockPath(cfg.Dir, os.O_RDONLY); err != nil {
		return nil, fmt.Errorf("open log: another process has it open: stop that one first: %w", err)
	}
	if err := l.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open log %s: %w", cfg.Dir, err), l.closeFiles())
	}
	return l, nil
}

// load reads the stable values and all segments.
func (l *Log) load() error {
	numbers, unborn, err := listSegments(l.dir)
	if err != nil {
		return err
	}
	for _, path := range unborn { // nothing was ever answered for out of one
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	err = l.stable.open(l.dir, l.log)
	if errors.Is(err, os.ErrNotExist) {
		if len(numbers) > 0 {
			return fmt.Errorf("%w: there are entries, but raft's vote and term are missing: %s", ErrDamaged,
				healAdvice)
		}
		if err = writeFile(filepath.Join(l.dir, oldManifest), []byte(noManifest)); err == nil {
			err = l.stable.create(l.dir)
		}
	}
	if err != nil {
		return err
	}
	return l.loadSegments(numbers)
}

// loadSegments reads the segments, which must be all that are known of. A kill between making one and
// noting it leaves one more.
func (l *Log) loadSegments(numbers []uint64) error {
	oldest, newest := max(l.stable.oldest, 1), l.stable.newest
	for len(numbers) > 0 && numbers[0] < oldest { // noted as gone
		if err := os.Remove(segmentPath(l.dir, numbers[0])); err != nil {
			return err
		}
		numbers = numbers[1:]
	}
	for i := range max(newest+1-oldest, uint64(len(numbers))) {
		if i >= uint64(len(numbers)) || numbers[i] != oldest+i || numbers[i] > newest+1 {
			return fmt.Errorf("%w: %s does not go with the segments beside it, %d to %d are known: %s",
				ErrDamaged, segmentPath(l.dir, oldest+i), oldest, newest, healAdvice)
		}
	}
	c := &scan{log: l}
	for i, number := range numbers {
		if err := c.segment(number, i == len(numbers)-1); err != nil {
			return err
		}
	}
	if l.last != 0 && l.holder(l.first) == nil {
		return damaged(l.first, errors.New("it is missing"))
	}
	if n := len(numbers); n > 0 && numbers[n-1] > newest {
		if err := l.stable.segments(oldest, numbers[n-1]); err != nil {
			return err
		}
	}
	return syncDir(l.dir) // what is there now must outlive a power cut
}

// segment reads the segment of a number into the log.
func (c *scan) segment(number uint64, newest bool) error {
	f, err := os.OpenFile(segmentPath(c.log.dir, number), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	*c = scan{
		log: c.log, prev: c.log.newest(), s: &segment{number: number, file: f}, size: info.Size(),
		buf: c.buf[:0],
	}
	c.log.segments = append(c.log.segments, c.s)
	cause := c.frames()
	var path *os.PathError
	if errors.As(cause, &path) {
		return path
	}
	c.s.end = c.at
	if c.at == 0 {
		return damaged(c.log.last+1, fmt.Errorf("%s does not begin as a segment: %w", f.Name(), cause))
	}
	if !newest {
		return c.full(cause)
	}
	if c.size < c.s.reserve {
		return damaged(c.log.last+1, fmt.Errorf("%s is cut short", f.Name()))
	}
	torn, err := c.tail()
	if err != nil {
		return err
	}
	if !torn {
		return damaged(c.log.last+1, fmt.Errorf("%s at %d: %w", f.Name(), c.at, cause))
	}
	return c.mend()
}

// full checks the end of a segment that is not the newest, and gives back what it did not need.
func (c *scan) full(cause error) error {
	if !errors.Is(cause, errEnd) || !c.complete {
		return damaged(c.log.last+1, fmt.Errorf("%s at %d: %w", c.s.file.Name(), c.at, cause))
	}
	if c.size > c.s.end {
		return c.s.file.Truncate(c.s.end)
	}
	return nil
}

// mend takes an unfinished batch back, and makes what it left zeros again before anything is written there.
func (c *scan) mend() error {
	if !c.complete {
		c.log.narrow(c.before)
		c.s.end, c.s.batch = c.began, c.s.batch-1
		for n := len(c.s.runs); c.s.runs[n-1].at >= c.began; n-- {
			c.s.runs = c.s.runs[:n-1]
		}
	}
	c.at = c.s.end
	used, err := c.used()
	if err != nil {
		return err
	}
	if used > c.s.end {
		err = writeZeros(c.s.file, c.s.end, used-c.s.end)
	}
	if err == nil {
		err = datasync(c.s.file) // what is read now must outlive a power cut
	}
	if err != nil {
		return fmt.Errorf("clear what a crash left unfinished: %w", err)
	}
	return nil
}
