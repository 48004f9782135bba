package finder

import (
	"cmp"
	"crypto/cipher"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
)

// MaxCards bounds the cards of one circle here, so that none can fill the machine of another.
const MaxCards = 20_000

// ErrTooMany: a circle has more cards than are taken of one.
var ErrTooMany = errors.New("more cards of one circle than are kept")

// Finder keeps and finds cards. It is safe for many goroutines.
type Finder struct {
	mu      sync.RWMutex
	index   *index
	file    *file
	path    string
	aead    cipher.AEAD
	circles []circle
	byID    map[letter.CircleID]uint32
	most    int // cards of one circle
}

// circle is one circle's run of cards.
type circle struct {
	id    letter.CircleID
	count int
	run   []turn // by seq; turns that no longer count among them
}

type turn struct {
	seq    uint64
	number uint32
}

// Open opens the finder whose file is in dir, sealed under a key of 32 bytes. A file that is damaged begins
// anew: others have the cards.
func Open(dir string, key []byte) (*Finder, error) { return open(dir, key, MaxCards) }

func open(dir string, key []byte, most int) (*Finder, error) {
	aead, err := sealing(key)
	if err != nil {
		return nil, fmt.Errorf("open the directory: %w", err)
	}
	f := &Finder{path: filepath.Join(dir, "cards"), aead: aead, most: most}
	err = f.load()
	if errors.Is(err, errDamaged) {
		if err = os.Remove(f.path); err == nil {
			err = f.load()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the directory: %w", err)
	}
	if f.file.dead > f.file.end/2 {
		if err := f.compact(); err != nil {
			return nil, fmt.Errorf("open the directory: %w", err)
		}
	}
	return f, nil
}

func (f *Finder) load() (err error) {
	f.index, f.circles, f.byID = newIndex(), nil, map[letter.CircleID]uint32{}
	f.file, err = openFile(f.path, f.aead, func(s letter.Signed, offset int64, length uint32) error {
		c, err := directory.Decode(s.Bytes)
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		k := keyOf(c.Circle, c.ID)
		if n, ok := f.index.numbers[k]; ok { // a crash between writing the newer and dropping the older
			return fmt.Errorf("card %d twice: %w", n, errDamaged)
		}
		f.enter(k, c, offset, length)
		return nil
	})
	f.index.settle()
	return err
}

// enter puts a card that is in the file into memory.
func (f *Finder) enter(k key, c directory.Card, offset int64, length uint32) {
	n, ok := f.byID[c.Circle]
	if !ok {
		n = uint32(len(f.circles))
		f.byID[c.Circle] = n
		f.circles = append(f.circles, circle{id: c.Circle})
	}
	f.index.add(k, c, doc{offset: offset, length: length, circle: n})
	of := &f.circles[n]
	of.count++
	t := turn{seq: c.Seq, number: f.index.numbers[k]}
	if last := len(of.run); last > 0 && of.run[last-1].seq > t.seq {
		i, _ := slices.BinarySearchFunc(of.run, t.seq, compareTurn)
		of.run = slices.Insert(of.run, i, t)
	} else {
		of.run = append(of.run, t)
	}
	if len(of.run) > 64 && len(of.run) > 2*of.count {
		of.run = slices.DeleteFunc(of.run, func(t turn) bool { return !f.counts(t) })
	}
}

func compareTurn(t turn, seq uint64) int { return cmp.Compare(t.seq, seq) }

// counts tells whether a turn is of a card that is still there.
func (f *Finder) counts(t turn) bool { return f.index.docs[t.number].seq == t.seq }

// Put takes cards whose circle's signature the caller has checked. Of a card that is there already only a
// newer one is taken; changed tells how many were. All is on stable storage when it returns.
func (f *Finder) Put(cards []letter.Signed) (changed int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.index.settle()
	for _, s := range cards {
		c, err := directory.Decode(s.Bytes)
		if err != nil {
			return changed, err
		}
		took, err := f.put(s, c)
		if err != nil {
			return changed, err
		}
		if took {
			changed++
		}
	}
	if changed > 0 {
		err = f.file.sync()
	}
	return changed, err
}

func (f *Finder) put(s letter.Signed, c directory.Card) (bool, error) {
	k := keyOf(c.Circle, c.ID)
	n, known := f.index.numbers[k]
	if known && f.index.docs[n].seq >= c.Seq {
		return false, nil
	}
	if of, ok := f.byID[c.Circle]; ok && !known && f.circles[of].count >= f.most {
		return false, fmt.Errorf("%s has %d: %w", c.Circle, f.circles[of].count, ErrTooMany)
	}
	if known {
		if err := f.leave(k); err != nil {
			return false, err
		}
	}
	offset, length, err := f.file.add(s)
	if err != nil {
		return false, err
	}
	f.enter(k, c, offset, length)
	return true, nil
}

// leave takes a card out, of memory and of the disk.
func (f *Finder) leave(k key) error {
	d := f.index.docs[f.index.numbers[k]]
	s, err := f.file.get(d.offset, d.length)
	if err != nil {
		return err
	}
	c, err := directory.Decode(s.Bytes)
	if err != nil {
		return err
	}
	f.index.remove(k, c)
	f.circles[d.circle].count--
	return f.file.drop(d.offset, d.length)
}

// Vector says how far the run of every circle's cards is known here.
func (f *Finder) Vector() directory.Vector {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var v directory.Vector
	for _, c := range f.circles {
		if len(c.run) > 0 {
			v = append(v, directory.Head{Circle: c.id, Seq: c.run[len(c.run)-1].seq})
		}
	}
	return v.Sorted()
}

// After returns cards that somebody with this vector does not have, of the circles in it, of each in the
// order of its run: up to so many cards and bytes.
func (f *Finder) After(v directory.Vector, most, bytes int) ([]letter.Signed, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var cards []letter.Signed
	for _, h := range v {
		n, known := f.byID[h.Circle]
		if !known {
			continue
		}
		c := f.circles[n]
		from, _ := slices.BinarySearchFunc(c.run, h.Seq+1, compareTurn)
		for _, t := range c.run[from:] {
			if !f.counts(t) {
				continue
			}
			d := f.index.docs[t.number]
			if bytes -= int(d.length); len(cards) == most || bytes < 0 && len(cards) > 0 {
				return cards, nil
			}
			s, err := f.file.get(d.offset, d.length)
			if err != nil {
				return nil, err
			}
			cards = append(cards, s)
		}
	}
	return cards, nil
}

// Of returns all cards of one circle.
func (f *Finder) Of(id letter.CircleID) ([]letter.Signed, error) {
	return f.After(directory.Vector{{Circle: id}}, f.most+1, 1<<40)
}

// Search returns the cards that meet the query, in order, and how many there are in all.
func (f *Finder) Search(q directory.Query) ([]directory.Found, int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	hits, total := f.index.search(q)
	found := make([]directory.Found, 0, len(hits))
	for _, h := range hits {
		d := f.index.docs[h.number]
		s, err := f.file.get(d.offset, d.length)
		if err != nil {
			return nil, 0, err
		}
		c, err := directory.Decode(s.Bytes)
		if err != nil {
			return nil, 0, err
		}
		found = append(found, directory.Found{Card: c, Metres: int(h.metres)})
	}
	return found, total, nil
}

// Sweep takes out what is void at a time, in Unix milliseconds, and returns how many that were.
func (f *Finder) Sweep(now int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var void []key
	for k, n := range f.index.numbers {
		if f.index.docs[n].until <= uint32(now/hourMillis) {
			void = append(void, k)
		}
	}
	for _, k := range void {
		if err := f.leave(k); err != nil {
			return 0, err
		}
	}
	if len(void) == 0 {
		return 0, nil
	}
	return len(void), f.file.sync()
}

// Count returns how many cards can be found.
func (f *Finder) Count() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return int(f.index.all.GetCardinality())
}

// compact writes the cards that count to a new file.
func (f *Finder) compact() (err error) {
	temp := f.path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	to, err := openFile(temp, f.aead, nil)
	if err != nil {
		return err
	}
	for n := range f.index.docs {
		d := &f.index.docs[n]
		if d.seq == 0 {
			continue
		}
		s, err := f.file.get(d.offset, d.length)
		if err == nil {
			d.offset, d.length, err = to.add(s)
		}
		if err != nil {
			return errors.Join(err, to.close())
		}
	}
	if err := errors.Join(to.sync(), f.file.close(), os.Rename(temp, f.path)); err != nil {
		return errors.Join(err, to.close())
	}
	f.file = to
	return nil
}

// Close closes the file.
func (f *Finder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.close()
}
