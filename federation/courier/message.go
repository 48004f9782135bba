package courier

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/carecircle/carecircle/federation/letter"
)

// Limits of what goes over the wire.
const (
	// MaxBatchRecords is the most records in one Batch.
	MaxBatchRecords = 64
	// MaxReported is the most certificates in one Report: each may have about 40 KiB.
	MaxReported = 8
	// MaxMessageBytes is the most bytes an encoded message may have; check a peer's length before reading.
	MaxMessageBytes = 512 << 10
	// MaxRefusalBytes bounds the text of a Refused.
	MaxRefusalBytes = 512

	wireVersion      = 1
	maxCodeBytes     = 32
	maxOverheadBytes = 1 << 10 // of a Batch, over and above its records
	maxRecordFrame   = 160     // of a record in a Batch: its signature and lengths, and the key of its memo
)

// Nonce is 128 random bits. As text it is 32 hex digits.
type Nonce [16]byte

// String returns 32 hex digits.
func (n Nonce) String() string { return hex.EncodeToString(n[:]) }

// MarshalText implements encoding.TextMarshaler.
func (n Nonce) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It wants exactly 32 hex digits.
func (n *Nonce) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(n) {
		return fmt.Errorf("reading a nonce: want %d hex digits: %w", 2*len(n), letter.ErrMalformed)
	}
	copy(n[:], b)
	return nil
}

// Open asks for a session, as the first thing after every start. It voids the opener's earlier sessions.
// CBOR keys 6 and up are free.
type Open struct {
	From    letter.CircleID `cbor:"1,keyasint"` // the opener
	To      letter.CircleID `cbor:"2,keyasint"`
	Nx      Nonce           `cbor:"3,keyasint"` // the opener's incarnation: new for every process and leader
	Attempt uint64          `cbor:"4,keyasint"` // counts this incarnation's Opens, to anybody, from 1
	Tail    letter.Position `cbor:"5,keyasint"` // how far the opener's own stream goes
}

// Welcome answers an Open with what the peer remembers of the opener. CBOR keys 9 and up are free.
type Welcome struct {
	Nx       Nonce           `cbor:"1,keyasint"`
	Ny       Nonce           `cbor:"2,keyasint"` // names the session together with Nx
	Held     letter.Position `cbor:"3,keyasint"` // how far the opener's stream is held here
	HeadSeen letter.Position `cbor:"4,keyasint"` // the furthest head of the opener's log seen in its records
	From     letter.CircleID `cbor:"5,keyasint"` // who welcomes
	To       letter.CircleID `cbor:"6,keyasint"` // the opener
	Sig      []byte          `cbor:"7,keyasint"` // by From's circle key, over all else
	// Tail is how far the peer's own stream to the opener goes: an opener that was put back hears from there
	// what it has forgotten.
	Tail uint64 `cbor:"8,keyasint,omitempty"`
}

// Batch carries records of the sender's stream, in order, and beside them the keys that open the sealed memos
// in them: a key is in no record, for records are kept for ever. CBOR keys 7 and up are free.
type Batch struct {
	Nx      Nonce           `cbor:"1,keyasint"`
	Ny      Nonce           `cbor:"2,keyasint"`
	From    letter.CircleID `cbor:"3,keyasint"`
	To      letter.CircleID `cbor:"4,keyasint"`
	Records []letter.Signed `cbor:"5,keyasint"` // 1 to MaxBatchRecords
	Keys    []MemoKey       `cbor:"6,keyasint,omitempty"`
}

// MemoKey opens the memo in one record of the Batch. Whoever gets it uses it once and keeps it nowhere.
type MemoKey struct {
	Seq uint64 `cbor:"1,keyasint"`
	Key []byte `cbor:"2,keyasint"` // 32 bytes
}

// memoKeyBytes is the length of a memo's key.
const memoKeyBytes = 32

// Ack answers a Batch: how far the stream is held and applied now. CBOR keys 2 and up are free.
type Ack struct {
	Held letter.Position `cbor:"1,keyasint"`
}

// Refused answers an Open or a Batch that was not taken. CBOR keys 3 and up are free.
type Refused struct {
	Code    string `cbor:"1,keyasint"` // one of the codes below
	Message string `cbor:"2,keyasint"` // for the operator
}

// Codes of Refused.
const (
	UnknownCircle = "unknown_circle" // not in the charter, or no alliance
	SessionVoid   = "session_void"   // not, or no longer, the session in force: open a new one
	Frozen        = "frozen"         // this pair is stopped until people have looked at it
	Busy          = "busy"           // try again later; the session stands
	Malformed     = "malformed"      // not a message that is understood here
)

// Recall asks for records of the asker's own stream, which it has forgotten. CBOR keys 4 and up are free.
type Recall struct {
	From  letter.CircleID `cbor:"1,keyasint"` // who asks, and wrote the stream
	To    letter.CircleID `cbor:"2,keyasint"`
	After uint64          `cbor:"3,keyasint"` // as far as the asker has it
}

// Recalled answers a Recall: the next records, in order, as many as fit. CBOR keys 2 and up are free.
type Recalled struct {
	Records []letter.Signed `cbor:"1,keyasint"`
}

// Register asks the hub for its verdict on a payment that got no answer. CBOR keys 5 and up are free.
type Register struct {
	From    letter.CircleID `cbor:"1,keyasint"`
	To      letter.CircleID `cbor:"2,keyasint"`
	Verdict uint8           `cbor:"3,keyasint"` // a payment.Verdict
	Proof   letter.Signed   `cbor:"4,keyasint"`
}

// Certified answers a Register: the hub's certificate, for payment.OpenCertificate. CBOR keys 2 and up are
// free.
type Certified struct {
	Certificate letter.Signed `cbor:"1,keyasint"`
}

// Report tells the hub, whose books were put back from a backup, which certificates a circle has about
// payments with one peer. Without a peer it only asks for the hub's epoch. CBOR keys 7 and up are free.
type Report struct {
	From         letter.CircleID `cbor:"1,keyasint"`
	To           letter.CircleID `cbor:"2,keyasint"`
	Peer         letter.CircleID `cbor:"3,keyasint,omitempty"`
	Epoch        uint64          `cbor:"4,keyasint"` // of the hub
	Certificates []letter.Signed `cbor:"5,keyasint"`
	Last         bool            `cbor:"6,keyasint"` // these are the last of them
}

// Office answers a Report: the hub's epoch. CBOR keys 2 and up are free.
type Office struct {
	Epoch uint64 `cbor:"1,keyasint"`
}

// envelope is what is on the wire: exactly one message. Numbers are never used again; 32 and up are free.
type envelope struct {
	Version uint8  `cbor:"1,keyasint"`
	Kind    uint8  `cbor:"2,keyasint"`
	Body    []byte `cbor:"3,keyasint"`
}

const (
	kindOpen    = 1
	kindWelcome = 2
	kindBatch   = 3
	kindAck     = 4
	kindRefused = 5

	kindRecall    = 6
	kindRecalled  = 7
	kindRegister  = 8
	kindCertified = 9
	kindReport    = 10
	kindOffice    = 11

	kindWant      = 12
	kindCards     = 13
	kindWithdrawn = 14
	kindReceipt   = 15
	kindContact   = 16
	kindReply     = 17
	kindTold      = 18

	kindMoveAsk    = 19
	kindMoveAnswer = 20
	kindMovePacket = 21

	kindMoveArrived = 22

	kindRoundAsk  = 23
	kindRoundNews = 24
	kindRoundSay  = 25

	kindJoin        = 26
	kindCharterAsk  = 27
	kindCharterNews = 28
	kindCharterShow = 29

	kindBooksAsk  = 30
	kindBooksTell = 31
)

// ErrMessage: not a message that may be sent or received.
var ErrMessage = errors.New("message not acceptable")

// Encode returns the canonical bytes of one of the messages above.
func Encode(msg any) ([]byte, error) {
	kind, err := check(msg)
	if err != nil {
		return nil, fmt.Errorf("encoding a message: %w", err)
	}
	body, err := letter.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("encoding a message: %w", err)
	}
	b, err := letter.Marshal(envelope{Version: wireVersion, Kind: kind, Body: body})
	if err != nil {
		return nil, fmt.Errorf("encoding a message: %w", err)
	}
	if len(b) > MaxMessageBytes {
		return nil, fmt.Errorf("encoding a message: %d bytes, at most %d: %w", len(b), MaxMessageBytes,
			letter.ErrTooLarge)
	}
	return b, nil
}

// Decode reads what Encode wrote and returns one of the messages above. The errors are
// letter.ErrMalformed, ErrTooLarge, ErrVersion and ErrKind, and ErrMessage. The records in a Batch are only
// carried: letter.Open reads them.
func Decode(b []byte) (msg any, err error) {
	var e envelope
	if err := letter.CheckVersion(b, MaxMessageBytes, wireVersion); err != nil {
		return nil, fmt.Errorf("decoding a message: %w", err)
	}
	if err := letter.Unmarshal(b, MaxMessageBytes, &e); err != nil {
		return nil, fmt.Errorf("decoding a message: %w", err)
	}
	if int(e.Kind) >= len(decoders) || decoders[e.Kind] == nil {
		return nil, fmt.Errorf("decoding a message: message %d: %w", e.Kind, letter.ErrKind)
	}
	msg, err = decoders[e.Kind](e.Body)
	if err != nil {
		return nil, fmt.Errorf("decoding a message: %w", err)
	}
	return msg, nil
}

// decoders reads the body of each message, by its number.
var decoders = [...]func([]byte) (any, error){
	kindOpen:        decode[Open],
	kindWelcome:     decode[Welcome],
	kindBatch:       decode[Batch],
	kindAck:         decode[Ack],
	kindRefused:     decode[Refused],
	kindRecall:      decode[Recall],
	kindRecalled:    decode[Recalled],
	kindRegister:    decode[Register],
	kindCertified:   decode[Certified],
	kindReport:      decode[Report],
	kindOffice:      decode[Office],
	kindWant:        decode[Want],
	kindCards:       decode[Cards],
	kindWithdrawn:   decode[Withdrawn],
	kindReceipt:     decode[Receipt],
	kindContact:     decode[Contact],
	kindReply:       decode[Reply],
	kindTold:        decode[Told],
	kindMoveAsk:     decode[MoveAsk],
	kindMoveAnswer:  decode[MoveAnswer],
	kindMovePacket:  decode[MovePacket],
	kindMoveArrived: decode[MoveArrived],
	kindRoundAsk:    decode[RoundAsk],
	kindRoundNews:   decode[RoundNews],
	kindRoundSay:    decode[RoundSay],
	kindJoin:        decode[Join],
	kindCharterAsk:  decode[CharterAsk],
	kindCharterNews: decode[CharterNews],
	kindCharterShow: decode[CharterShow],
	kindBooksAsk:    decode[BooksAsk],
	kindBooksTell:   decode[BooksTell],
}

func decode[M any](b []byte) (any, error) {
	var msg M
	if err := letter.Unmarshal(b, MaxMessageBytes, &msg); err != nil {
		return nil, err
	}
	if _, err := check(msg); err != nil {
		return nil, err
	}
	return msg, nil
}

// check returns a message's number on the wire.
func check(msg any) (uint8, error) {
	switch m := msg.(type) {
	case Open:
		return kindOpen, checkPair(m.From, m.To)
	case Welcome:
		if len(m.Sig) != ed25519.SignatureSize {
			return 0, fmt.Errorf("WELCOME without a signature: %w", ErrMessage)
		}
		return kindWelcome, checkPair(m.From, m.To)
	case Batch:
		if len(m.Records) < 1 || len(m.Records) > MaxBatchRecords {
			return 0, fmt.Errorf("BATCH of %d records, want 1 to %d: %w", len(m.Records), MaxBatchRecords,
				ErrMessage)
		}
		for _, k := range m.Keys {
			if len(k.Key) != memoKeyBytes || len(m.Keys) > len(m.Records) {
				return 0, fmt.Errorf("BATCH with keys that fit no record: %w", ErrMessage)
			}
		}
		return kindBatch, checkPair(m.From, m.To)
	case Ack:
		return kindAck, nil
	case Refused:
		if m.Code == "" || len(m.Code) > maxCodeBytes || len(m.Message) > MaxRefusalBytes {
			return 0, fmt.Errorf("REFUSED with a code of %d and a text of %d bytes: %w", len(m.Code),
				len(m.Message), ErrMessage)
		}
		return kindRefused, nil
	case Recall:
		return kindRecall, checkPair(m.From, m.To)
	case Recalled:
		if len(m.Records) > MaxBatchRecords {
			return 0, fmt.Errorf("RECALLED with %d records: %w", len(m.Records), ErrMessage)
		}
		return kindRecalled, nil
	case Register:
		return kindRegister, checkPair(m.From, m.To)
	case Certified:
		return kindCertified, nil
	case Report:
		if len(m.Certificates) > MaxReported {
			return 0, fmt.Errorf("REPORT of %d certificates: %w", len(m.Certificates), ErrMessage)
		}
		return kindReport, checkPair(m.From, m.To)
	case Office:
		return kindOffice, nil
	}
	return checkCards(msg)
}

func checkPair(from, to letter.CircleID) error {
	if !from.Valid() || !to.Valid() || from == to {
		return fmt.Errorf("from %.40q to %.40q: %w", from, to, ErrMessage)
	}
	return nil
}

// Fit returns how many of the records, from the first on, go into one Batch: at least 1 if there is one.
func Fit(records []letter.Signed) int {
	size := maxOverheadBytes
	for i, r := range records {
		size += len(r.Bytes) + maxRecordFrame
		if size > MaxMessageBytes || i == MaxBatchRecords {
			return i
		}
	}
	return len(records)
}

// SignWelcome returns w signed with the welcoming circle's key.
func SignWelcome(key ed25519.PrivateKey, w Welcome) (Welcome, error) {
	b, err := w.Signed()
	if err != nil {
		return Welcome{}, fmt.Errorf("signing a WELCOME: %w", err)
	}
	w.Sig = letter.ForWelcome.Sign(key, b)
	return w, nil
}

// VerifyWelcome returns nil when w is signed by pub, the circle key of w.From.
func VerifyWelcome(pub ed25519.PublicKey, w Welcome) error {
	return VerifyWelcomeWith(letter.Purpose.Verify, pub, w)
}

// VerifyWelcomeWith is VerifyWelcome with a verifier.
func VerifyWelcomeWith(verify letter.Verifier, pub ed25519.PublicKey, w Welcome) error {
	b, err := w.Signed()
	if err != nil {
		return fmt.Errorf("checking a WELCOME: %w", err)
	}
	if err := verify(letter.ForWelcome, pub, b, w.Sig); err != nil {
		return fmt.Errorf("checking a WELCOME from %s: %w", w.From, err)
	}
	return nil
}

// Signed is what the signature covers: the whole Welcome with an empty Sig.
func (w Welcome) Signed() ([]byte, error) {
	w.Sig = nil
	return letter.Marshal(w)
}
