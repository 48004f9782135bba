package courier

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// Two circles compare their books of each other: which payments were made between them. The asker goes along
// its own payments piece by piece; where the other has the same, a digest says so.

const (
	// MaxBooksLines is the most payments in one BooksTell.
	MaxBooksLines = 1000
	// BooksPiece is how many of its payments an asker compares at once.
	BooksPiece = 400
)

// BooksDigest names a run of payments.
type BooksDigest [sha256.Size]byte

// BooksLine is one payment as one of two circles has it: made, or waiting for the payee's answer. Those that
// came to nothing are no lines. CBOR keys 4 and up are free.
type BooksLine struct {
	TID     payment.TID `cbor:"1,keyasint" json:"tid"`
	Minutes int64       `cbor:"2,keyasint" json:"minutes"`
	Made    bool        `cbor:"3,keyasint" json:"made"`
}

// DigestOf is the digest of those lines that are made, in order.
func DigestOf(lines []BooksLine) BooksDigest {
	h := sha256.New()
	h.Write([]byte("carecircle books v1\x00"))
	for _, l := range lines {
		if l.Made {
			h.Write(l.TID[:])
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(l.Minutes)))
		}
	}
	return BooksDigest(h.Sum(nil))
}

// BooksAsk asks for the payments by one of the two circles to the other, in the order of their ids. CBOR keys
// 7 and up are free.
type BooksAsk struct {
	From    letter.CircleID `cbor:"1,keyasint"`
	To      letter.CircleID `cbor:"2,keyasint"`
	Payer   letter.CircleID `cbor:"3,keyasint"`
	After   payment.TID     `cbor:"4,keyasint"` // the payments behind this one
	Through payment.TID     `cbor:"5,keyasint"` // as far as this one, which is included
	Digest  BooksDigest     `cbor:"6,keyasint"` // of what the asker has there
}

// BooksTell answers a BooksAsk. CBOR keys 5 and up are free.
type BooksTell struct {
	Owes    int64       `cbor:"1,keyasint"` // minutes that the teller owes the asker by its books
	Same    bool        `cbor:"2,keyasint"` // the digest is that of the teller's
	Lines   []BooksLine `cbor:"3,keyasint"` // if not: what the teller has
	Through payment.TID `cbor:"4,keyasint"` // they are all there are as far as this one
}

func checkBooks(msg any) (uint8, error) {
	switch m := msg.(type) {
	case BooksAsk:
		if m.Payer != m.From && m.Payer != m.To {
			return 0, fmt.Errorf("payments by %.40q: %w", m.Payer, ErrMessage)
		}
		return kindBooksAsk, checkPair(m.From, m.To)
	case BooksTell:
		if len(m.Lines) > MaxBooksLines {
			return 0, fmt.Errorf("%d payments, at most %d: %w", len(m.Lines), MaxBooksLines, ErrMessage)
		}
		for i, l := range m.Lines {
			if i > 0 && bytes.Compare(m.Lines[i-1].TID[:], l.TID[:]) >= 0 {
				return 0, fmt.Errorf("payments out of order: %w", ErrMessage)
			}
		}
		return kindBooksTell, nil
	}
	return checkRounds(msg)
}
