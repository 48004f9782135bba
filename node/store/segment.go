package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

const (
	segmentSuffix = ".segment"
	unbornSuffix  = ".new" // behind a segment's name until it is whole
)

// segment is one file of the log. Only the newest is written to.
type segment struct {
	number  uint64
	file    *os.File
	end     int64  // behind the last frame
	reserve int64  // the file's length while it is written to
	batch   uint32 // the newest
	runs    []run  // as they follow one another
	open    bool   // the last of the runs is this process's

	// places holds where the entries from base on are. Those below the log's first are of no account.
	base   uint64
	places []place
}

// place is where a frame is in its segment.
type place struct{ at, size uint32 }

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%012d%s", number, segmentSuffix))
}

// listSegments returns the numbers of the segments in dir, ascending, and the paths of unborn ones.
func listSegments(dir string) (numbers []uint64, unborn []string, err error) {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		name := f.Name()
		if strings.HasSuffix(name, segmentSuffix+unbornSuffix) {
			unborn = append(unborn, filepath.Join(dir, name))
		}
		digits, ok := strings.CutSuffix(name, segmentSuffix)
		if n, err := strconv.ParseUint(digits, 10, 64); ok && err == nil {
			numbers = append(numbers, n)
		}
	}
	sort.Slice(numbers, func(i, j int) bool { return numbers[i] < numbers[j] })
	return numbers, unborn, err
}

func (s *segment) holds(index uint64) bool {
	return index >= s.base && index-s.base < uint64(len(s.places))
}

func (s *segment) add(index uint64, p place) {
	if len(s.places) == 0 {
		s.base = index
	}
	s.places = append(s.places, p)
}

// cut forgets the entries above last.
func (s *segment) cut(last uint64) {
	switch {
	case len(s.places) == 0 || last < s.base:
		s.places = nil
	case s.holds(last):
		s.places = s.places[:last-s.base+1]
	}
}

// runOf returns the run that wrote the frame at a place.
func (s *segment) runOf(at int64) run {
	i := sort.Search(len(s.runs), func(i int) bool { return s.runs[i].at > at })
	return s.runs[i-1]
}

// read returns the content of the frame at a place.
func (s *segment) read(p place) ([]byte, error) {
	frame := make([]byte, p.size)
	if _, err := s.file.ReadAt(frame, int64(p.at)); err != nil {
		return nil, err
	}
	h, ok := readHead(frame, s.number, int64(p.at))
	if !ok || h.kind != entryFrame || h.size != len(frame) {
		return nil, errors.New("its head is damaged")
	}
	return s.runOf(int64(p.at)).open(frame, entryFrame, int64(p.at))
}

// begin adds the frame that begins a run to b, to be written at the segment's place at.
func (s *segment) begin(b, master []byte, start runStart, h head, at int64) ([]byte, run, error) {
	from := len(b)
	b = append(b, make([]byte, headBytes+saltBytes)...)
	salt := b[from+headBytes:]
	_, _ = rand.Read(salt) // cannot fail
	r, err := newRun(master, salt, s.number, at)
	if err != nil {
		return nil, r, err
	}
	h.kind = runFrame
	return r.seal(start.append(b), from, h, s.number, at), r, nil
}

// createSegment makes a segment with its first run, whole and synced. It has its name only then: so a segment
// without a whole beginning is a damaged one.
func createSegment(dir string, master []byte, number uint64, start runStart) (*segment, error) {
	s := &segment{number: number, reserve: start.reserve, batch: 1, open: true}
	path := segmentPath(dir, number)
	b, r, err := s.begin(nil, master, start, head{last: true, batch: s.batch}, 0)
	if err != nil {
		return nil, err
	}
	s.runs, s.end = []run{r}, int64(len(b))
	f, err := os.OpenFile(path+unbornSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	err = preallocate(f, s.reserve)
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(path+unbornSuffix, path); err != nil {
		return nil, err
	}
	if err := syncDir(dir); err != nil {
		return nil, err
	}
	s.file, err = os.OpenFile(path, os.O_RDWR, 0)
	return s, err
}
