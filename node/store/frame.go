package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
)

// A segment is a file of frames, each written once and never over another. A frame's length is a multiple
// of 16 and so is its place:
//
//	head     length and kind (4), batch (4), CRC-64 of these and of where the frame stands (8)
//	salt     32 bytes, in the frame that begins a run only
//	body     AES-256-GCM of content, zeros and their number plus one; the tag; all before it is covered
//	end      0xFF
//
// A run is what one process has written to one segment: a key of its own, derived from the store's key and
// a fresh random salt. A nonce is a frame's offset in its segment. So a nonce never comes again under one
// key: within a run no place is written twice (what is deleted stays where it is, and deleting it writes a
// new frame behind), and a run ends with its process. That holds where a torn end is written over after a
// crash, and where an old copy of the directory is put back and goes on differently: both begin a run, with
// a key nobody has used.
//
// A whole frame has no 16 bytes of zeros in a row at a multiple of 16, and does not end in a zero: so what
// was never written can be told from what was changed, see segment.tail.
const (
	frameUnit  = 16
	headBytes  = 16
	saltBytes  = 32
	tagBytes   = 16
	tailBytes  = tagBytes + 1
	endMark    = 0xFF
	lastInRow  = 8 // added to the kind of the last frame of a batch
	kindMask   = 7
	framesRoom = 256 // more than a frame adds to an entry, or a frame without one takes
)

// Kinds of frames. What follows in each is its content; numbers are varints.
const (
	runFrame   = 1 // begins a run; see runStart
	entryFrame = 2 // index, commit index, an entry as in encodeEntry
	rangeFrame = 3 // the log's first and last index from here on, commit index
)

// head is a frame's head, read.
type head struct {
	kind  byte
	last  bool // of its batch
	size  int
	batch uint32
}

var crcTable = crc64.MakeTable(crc64.ECMA)

func headSum(b []byte, segment uint64, at int64) uint64 {
	var where [16]byte
	binary.BigEndian.PutUint64(where[:], segment)
	binary.BigEndian.PutUint64(where[8:], uint64(at))
	return crc64.Update(crc64.Checksum(where[:], crcTable), crcTable, b[:8])
}

func putHead(b []byte, h head, segment uint64, at int64) {
	kind := uint32(h.kind)
	if h.last {
		kind |= lastInRow
	}
	binary.BigEndian.PutUint32(b, uint32(h.size)|kind)
	binary.BigEndian.PutUint32(b[4:], h.batch)
	binary.BigEndian.PutUint64(b[8:], headSum(b, segment, at))
}

// readHead reads the head at the beginning of b; it is not ok if it is not as written, or not for here.
func readHead(b []byte, segment uint64, at int64) (h head, ok bool) {
	if len(b) < headBytes || binary.BigEndian.Uint64(b[8:]) != headSum(b, segment, at) {
		return head{}, false
	}
	n := binary.BigEndian.Uint32(b)
	return head{
		kind: byte(n) & kindMask, last: n&lastInRow != 0, size: int(n &^ (frameUnit - 1)),
		batch: binary.BigEndian.Uint32(b[4:]),
	}, true
}

// run is a run's key, and where it begins.
type run struct {
	at   int64
	aead cipher.AEAD
}

func newRun(master, salt []byte, segment uint64, at int64) (run, error) {
	aead, err := deriveAEAD(master, salt, fmt.Sprintf("carecircle log segment %d v1", segment))
	return run{at: at, aead: aead}, err
}

// deriveAEAD makes a key for one use. Without a master key what is sealed with it is not secret, and its
// tag finds damage only.
func deriveAEAD(master, salt []byte, use string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, master, salt, use, KeyBytes)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func nonceAt(at int64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), uint64(at))
}

func clearBytes(kind byte) int {
	if kind == runFrame {
		return headBytes + saltBytes
	}
	return headBytes
}

// seal makes b[start:], where room for the head and the content stand already, a frame. It will be written
// at the given place.
func (r run) seal(b []byte, start int, h head, segment uint64, at int64) []byte {
	pad := frameUnit - (len(b)-start+tailBytes)%frameUnit
	b = append(b, make([]byte, pad)...)
	b[len(b)-1] = byte(pad)
	h.size = len(b) - start + tailBytes
	putHead(b[start:], h, segment, at)
	from := start + clearBytes(h.kind)
	b = r.aead.Seal(b[:from], nonceAt(at), b[from:], b[start:from])
	return append(b, endMark)
}

// open returns the content of a frame, which it decrypts in place.
func (r run) open(frame []byte, kind byte, at int64) ([]byte, error) {
	from, end := clearBytes(kind), len(frame)-1
	if end < from+tagBytes+1 || frame[end] != endMark {
		return nil, errors.New("it is cut short")
	}
	plain, err := r.aead.Open(frame[from:from], nonceAt(at), frame[from:end], frame[:from])
	if err != nil {
		return nil, errors.New("its seal is broken")
	}
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > frameUnit || pad > len(plain) {
		return nil, errors.New("it cannot be decoded")
	}
	return plain[: len(plain)-pad : len(plain)-pad], nil
}

// extent is what a log holds: entries from first to last (0 and 0: none), and the commit index.
type extent struct{ first, last, commit uint64 }

func (x extent) append(b []byte) []byte {
	b = binary.AppendUvarint(b, x.first)
	b = binary.AppendUvarint(b, x.last)
	return binary.AppendUvarint(b, x.commit)
}

func (d *decoder) extent() extent {
	return extent{first: d.uvarint(), last: d.uvarint(), commit: d.uvarint()}
}

// runStart is the content of the frame that begins a run.
type runStart struct {
	extent  extent // of the log, before the run
	before  int64  // where the segment before ended, in a segment's first run
	reserve int64  // the file's length, until the segment is full
}

func (s runStart) append(b []byte) []byte {
	b = s.extent.append(b)
	b = binary.AppendVarint(b, s.before)
	return binary.AppendVarint(b, s.reserve)
}

func decodeRunStart(b []byte) (runStart, error) {
	d := decoder{b: b}
	s := runStart{extent: d.extent(), before: d.varint(), reserve: d.varint()}
	if d.bad || len(d.b) != 0 {
		return s, errors.New("it cannot be decoded")
	}
	return s, nil
}
