package finder

import (
	"slices"
	"strings"
	"unicode"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/text/unicode/norm"

	"github.com/carecircle/carecircle/federation/directory"
)

// minPrefix is how many letters of a word are enough to find it by its beginning.
const minPrefix = 3

// fold takes a text apart into words as they are looked up: lower case, without accents, each once, in order.
func fold(text string) []string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r), r == '\'', r == '’':
			return -1
		case unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return ' '
	}, norm.NFKD.String(text))
	words := strings.Fields(text)
	slices.Sort(words)
	return slices.Compact(words)
}

// cardWords are the words a card can be found by.
func cardWords(c directory.Card) []string {
	all := slices.Concat([]string{c.Name, c.Words, c.Sector}, c.Kinds, c.Skills, c.Languages)
	return fold(strings.Join(all, " "))
}

// words has the cards by word.
type words struct {
	sets   map[string]*roaring.Bitmap
	sorted []string
}

func newWords() words { return words{sets: map[string]*roaring.Bitmap{}} }

func (w *words) of(word string) *roaring.Bitmap { return bitmap(w.sets, word) }

func (w *words) settle() {
	if len(w.sorted) == len(w.sets) {
		return
	}
	w.sorted = w.sorted[:0]
	for word := range w.sets {
		w.sorted = append(w.sorted, word)
	}
	slices.Sort(w.sorted)
}

// find returns the cards with a word that begins like this one, or with just this one if it is short.
func (w *words) find(word string) *roaring.Bitmap {
	if len([]rune(word)) < minPrefix {
		if set := w.sets[word]; set != nil {
			return set
		}
		return roaring.New()
	}
	from, _ := slices.BinarySearch(w.sorted, word)
	var sets []*roaring.Bitmap
	for _, other := range w.sorted[from:] {
		if !strings.HasPrefix(other, word) {
			break
		}
		sets = append(sets, w.sets[other])
	}
	if len(sets) == 1 {
		return sets[0]
	}
	return roaring.FastOr(sets...)
}

// hasWord is find for one card's words.
func hasWord(has []string, word string) bool {
	return slices.ContainsFunc(has, func(other string) bool {
		return other == word || len([]rune(word)) >= minPrefix && strings.HasPrefix(other, word)
	})
}
