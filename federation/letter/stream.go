package letter

import (
	"errors"
	"fmt"
)

// Errors of Follow, told apart with errors.Is.
var (
	// ErrOld: a record at or before what is held. If the held copy has the same hash it is only a repeat.
	ErrOld = errors.New("record already held")
	// ErrFork: two records signed for one place in the stream. This is proof against the sender: keep both.
	ErrFork = errors.New("two different records for one place in the stream")
	// ErrGap: records before this one have not come yet.
	ErrGap = errors.New("records missing before this one")
	// ErrChain: it comes next, but after another record than the one held; with a good signature this is
	// proof against the sender as well.
	ErrChain = errors.New("record does not follow the one held")
	// ErrEpoch: from another epoch of the stream than the one held.
	ErrEpoch = errors.New("record of another epoch")
)

// Next is the sender's end: it puts r after tail and returns the record with Version, Epoch, Seq and Prev
// filled in, its bytes to keep, and the new tail. An error (a body too large, no circle ids) changes nothing.
func Next(tail Position, r Record) (Record, []byte, Position, error) {
	r.Version, r.Epoch, r.Seq, r.Prev = Version, tail.Epoch, tail.Seq+1, tail.Hash
	b, err := r.Encode()
	if err != nil {
		return Record{}, nil, tail, err
	}
	return r, b, Position{Epoch: r.Epoch, Seq: r.Seq, Hash: HashOf(b)}, nil
}

// Begin is Next for the EPOCH record with which the stream goes on in a later epoch.
func Begin(tail Position, epoch uint64, r Record) (Record, []byte, Position, error) {
	before := tail
	tail.Epoch, r.Kind = epoch, Epoch
	r, b, after, err := Next(tail, r)
	if err != nil {
		return r, b, before, err
	}
	return r, b, after, nil
}

// Follow is the receiver's end: it returns the new position when r, whose hash is h, comes next after held.
// Otherwise it returns held and ErrOld, ErrFork, ErrGap, ErrChain or ErrEpoch. On ErrOld for a place before
// held.Seq the caller compares h with its copy of that place: another hash there is an ErrFork too.
func Follow(held Position, r Record, h Hash) (Position, error) {
	refuse := func(why error) (Position, error) {
		return held, fmt.Errorf("record %d.%d after %d.%d: %w", r.Epoch, r.Seq, held.Epoch, held.Seq, why)
	}
	begins := r.Kind == Epoch && r.Epoch > held.Epoch // goes on behind the last record that is held
	switch {
	case r.Epoch != held.Epoch && !begins:
		return refuse(ErrEpoch)
	case begins && r.Seq <= held.Seq:
		return refuse(ErrFork)
	case r.Seq == held.Seq && h != held.Hash:
		return refuse(ErrFork)
	case r.Seq <= held.Seq:
		return refuse(ErrOld)
	case r.Seq-held.Seq > 1:
		return refuse(ErrGap)
	case r.Prev != held.Hash:
		return refuse(ErrChain)
	}
	return Position{Epoch: r.Epoch, Seq: r.Seq, Hash: h}, nil
}
