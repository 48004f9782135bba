// Package finder keeps the cards of members of all circles that this machine has heard of, and finds among
// them by itself, with no network. The cards lie in a file; what is needed to find them, in memory: bitmaps
// of cards by tag, by word and by half hour (roaring), and places by where on earth they are (S2).
package finder

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/golang/geo/s2"

	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
)

// key names a card in whatever version.
type key [16]byte

func keyOf(circle letter.CircleID, id string) key {
	sum := sha256.Sum256([]byte(string(circle) + "\x00" + id))
	return key(sum[:])
}

// draw is a fixed chance, to make the order of a day of.
func (k key) draw() uint32 { return binary.BigEndian.Uint32(k[:4]) }

// doc is what is looked at of every card that might be an answer.
type doc struct {
	place  int32 // number of the place; noPlace
	rate   int32
	until  uint32 // hours since 1970, rounded up
	length uint32 // in the file
	offset int64
	seq    uint64
	circle uint32
	draw   uint32
}

const (
	noPlace    = -1
	hourMillis = 60 * 60 * 1000
)

// place is a postcode sector.
type place struct {
	point s2.Point
	cell  s2.CellID
	cards *roaring.Bitmap
}

// index finds cards by number. It is for one goroutine at a time, or several that only search.
type index struct {
	docs    []doc
	unused  []uint32 // numbers of cards that are gone
	numbers map[key]uint32

	all    *roaring.Bitmap // that can be found
	open   *roaring.Bitmap
	tags   map[string]*roaring.Bitmap // k, s or l, and the tag
	words  words
	slots  [directory.Slots]*roaring.Bitmap
	places []place
	at     map[directory.Point]int32
	near   []int32 // places in order of their cells
	sorted bool
}

func newIndex() *index {
	x := &index{
		numbers: map[key]uint32{}, all: roaring.New(), open: roaring.New(), words: newWords(),
		tags: map[string]*roaring.Bitmap{}, at: map[directory.Point]int32{},
	}
	for i := range x.slots {
		x.slots[i] = roaring.New()
	}
	return x
}

// add puts a card in; one of the same key must have been taken out before.
func (x *index) add(k key, c directory.Card, d doc) {
	n := uint32(len(x.docs))
	if last := len(x.unused) - 1; last >= 0 {
		n, x.unused = x.unused[last], x.unused[:last]
	} else {
		x.docs = append(x.docs, doc{})
	}
	d.place, d.rate, d.until = noPlace, c.Rate, uint32((c.Until+hourMillis-1)/hourMillis)
	d.seq, d.draw = c.Seq, k.draw()
	x.numbers[k] = n
	if !c.Gone {
		x.all.Add(n)
		x.each(c, func(set *roaring.Bitmap) { set.Add(n) })
		if c.Sector != "" {
			d.place = x.placeOf(c.At)
			x.places[d.place].cards.Add(n)
		}
	}
	x.docs[n] = d
}

// remove takes a card out, whose content this is.
func (x *index) remove(k key, c directory.Card) {
	n, ok := x.numbers[k]
	if !ok {
		return
	}
	delete(x.numbers, k)
	if !c.Gone {
		x.all.Remove(n)
		x.each(c, func(set *roaring.Bitmap) { set.Remove(n) })
		if p := x.docs[n].place; p != noPlace {
			x.places[p].cards.Remove(n)
		}
	}
	x.docs[n] = doc{place: noPlace}
	x.unused = append(x.unused, n)
}

// each gives every bitmap that a card is in, but that of its place.
func (x *index) each(c directory.Card, do func(set *roaring.Bitmap)) {
	for prefix, list := range map[string]directory.Tags{"k": c.Kinds, "s": c.Skills, "l": c.Languages} {
		for _, tag := range list {
			do(bitmap(x.tags, prefix+tag))
		}
	}
	for _, word := range cardWords(c) {
		do(x.words.of(word))
	}
	for slot := range directory.Slots {
		if c.Hours.Has(slot) {
			do(x.slots[slot])
		}
	}
	if c.Open {
		do(x.open)
	}
}

func bitmap(sets map[string]*roaring.Bitmap, name string) *roaring.Bitmap {
	set := sets[name]
	if set == nil {
		set = roaring.New()
		sets[name] = set
	}
	return set
}

func (x *index) placeOf(p directory.Point) int32 {
	n, ok := x.at[p]
	if !ok {
		n = int32(len(x.places))
		x.at[p] = n
		point := pointOf(p)
		x.places = append(x.places, place{
			point: point, cell: s2.CellIDFromLatLng(s2.LatLngFromPoint(point)), cards: roaring.New(),
		})
		x.sorted = false
	}
	return n
}

// settle puts places in order; after it only searches may follow until the next card comes.
func (x *index) settle() {
	if !x.sorted {
		x.near = x.near[:0]
		for i := range x.places {
			x.near = append(x.near, int32(i))
		}
		slices.SortFunc(x.near, func(a, b int32) int {
			return cmp.Compare(x.places[a].cell, x.places[b].cell)
		})
		x.sorted = true
	}
	x.words.settle()
}
