package letter_test

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/carecircle/carecircle/federation/letter"
)

type entry struct {
	record letter.Record
	bytes  []byte
	hash   letter.Hash
}

// write appends n records to a stream that ends at tail.
func write(t rapid.TB, tail letter.Position, text string, n int) ([]entry, letter.Position) {
	var stream []entry
	for i := range n {
		r, b, next, err := letter.Next(tail, letter.Record{
			Kind: letter.Accept, From: circle(1), To: circle(2), Body: fmt.Appendf(nil, "%s %d", text, i),
		})
		if err != nil {
			t.Fatal(err)
		}
		if next.Seq != tail.Seq+1 || next.Epoch != tail.Epoch || r.Prev != tail.Hash {
			t.Fatalf("%+v written after %+v gives %+v", r, tail, next)
		}
		stream, tail = append(stream, entry{r, b, letter.HashOf(b)}), next
	}
	return stream, tail
}

func TestStream(t *testing.T) {
	common, fork := write(t, letter.Position{}, "common", 3)
	ours, end := write(t, fork, "ours", 3)
	theirs, _ := write(t, fork, "theirs", 3)
	var held letter.Position
	for _, e := range append(common, ours...) {
		r, err := letter.Decode(e.bytes)
		if err != nil {
			t.Fatal(err)
		}
		if held, err = letter.Follow(held, r, e.hash); err != nil {
			t.Fatal(err)
		}
	}
	if held != end {
		t.Fatalf("receiver ends at %+v, sender at %+v", held, end)
	}
	atFork := letter.Position{Seq: fork.Seq, Hash: fork.Hash}
	atFirst := letter.Position{Seq: 4, Hash: ours[0].hash}
	other := ours[0].record
	other.Epoch = 1
	for _, c := range []struct {
		name string
		held letter.Position
		r    letter.Record
		h    letter.Hash
		want error
	}{
		{"repeat of the last", held, ours[2].record, ours[2].hash, letter.ErrOld},
		{"repeat of an older one", held, common[0].record, common[0].hash, letter.ErrOld},
		{"another last", held, theirs[2].record, theirs[2].hash, letter.ErrFork},
		{"one left out", atFork, ours[1].record, ours[1].hash, letter.ErrGap},
		{"far ahead", letter.Position{}, ours[2].record, ours[2].hash, letter.ErrGap},
		{"after another", atFirst, theirs[1].record, theirs[1].hash, letter.ErrChain},
		{"other epoch", atFork, other, ours[0].hash, letter.ErrEpoch},
	} {
		if at, err := letter.Follow(c.held, c.r, c.h); !errors.Is(err, c.want) || at != c.held {
			t.Errorf("%s: %+v, %v, want %v and no move", c.name, at, err, c.want)
		}
	}
	if _, _, at, err := letter.Next(end, letter.Record{Kind: letter.Accept}); err == nil || at != end {
		t.Errorf("a record for nobody: %+v, %v", at, err)
	}
}

// TestStreamKeepsPrefix gives a receiver any records in any order, as often as it likes: what it holds is
// always a prefix of what was sent, and it gets to the end.
func TestStreamKeepsPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream, _ := write(t, letter.Position{}, "x", rapid.IntRange(1, 8).Draw(t, "records"))
		var held letter.Position
		give := func(i int) {
			next, err := letter.Follow(held, stream[i].record, stream[i].hash)
			switch want := held.Seq; {
			case uint64(i) == want:
				if err != nil || next.Seq != want+1 || next.Hash != stream[i].hash {
					t.Fatalf("record %d refused: %v", i, err)
				}
			case next != held || uint64(i) < want && !errors.Is(err, letter.ErrOld):
				t.Fatalf("record %d moved %+v to %+v, %v", i, held, next, err)
			}
			held = next
		}
		for _, i := range rapid.SliceOf(rapid.IntRange(0, len(stream)-1)).Draw(t, "order") {
			give(i)
		}
		for i := range stream {
			give(i)
		}
		if held.Seq != uint64(len(stream)) {
			t.Fatalf("ended at %+v", held)
		}
	})
}
