package clearing

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/carecircle/carecircle/federation/letter"
)

// A round sets a proposal off between circles, at all of them or at none: the hub signs the paper of it,
// every circle in it consents with a signature, and the hub's outcome, with all consents in it, is what
// counts. The hub alone moves nothing.

const (
	// MaxRoundObligations bounds the obligations in one round: its paper and its outcome have to fit into one
	// command together.
	MaxRoundObligations = 900
	// MaxPaperBytes bounds an encoded Paper.
	MaxPaperBytes = 170 << 10
	// MaxOutcomeBytes bounds an encoded Outcome.
	MaxOutcomeBytes = 140 << 10
)

// ErrRound: a paper, consent or outcome that does not count.
var ErrRound = errors.New("round not acceptable")

// Paper is what a round is about. CBOR keys 5 and up are free.
type Paper struct {
	Hub      letter.CircleID `cbor:"1,keyasint"`
	Number   uint64          `cbor:"2,keyasint"` // of the hub's rounds: Unix milliseconds, each later
	Until    int64           `cbor:"3,keyasint"` // when the hub stops waiting, Unix milliseconds
	Proposal Proposal        `cbor:"4,keyasint"` // between circles by their ids
}

// PaperHash names a paper.
type PaperHash [sha256.Size]byte

// HashOf returns the hash of a paper's bytes.
func HashOf(paper []byte) PaperHash {
	return sha256.Sum256(append([]byte("carecircle round paper v1\x00"), paper...))
}

// Circles returns those with a change, in order.
func (p Paper) Circles() []letter.CircleID {
	var out []letter.CircleID
	for _, o := range p.Proposal.Changes {
		out = append(out, letter.CircleID(o.Debtor), letter.CircleID(o.Creditor))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Encode returns the paper's bytes, the same for the same paper.
func (p Paper) Encode() ([]byte, error) { return letter.Marshal(p) }

// OpenPaper reads a paper that the hub with this key signed, and checks the proposal in it.
func OpenPaper(verify letter.Verifier, hub ed25519.PublicKey, s letter.Signed) (Paper, error) {
	var p Paper
	if len(s.Bytes) > MaxPaperBytes {
		return p, fmt.Errorf("a paper of %d bytes, at most %d: %w", len(s.Bytes), MaxPaperBytes, ErrRound)
	}
	if err := verify(letter.ForRound, hub, s.Bytes, s.Sig); err != nil {
		return p, fmt.Errorf("the paper of a round: %w", err)
	}
	return DecodePaper(s.Bytes)
}

// DecodePaper reads a paper whoever made it, and checks the proposal in it.
func DecodePaper(raw []byte) (Paper, error) {
	var p Paper
	if err := letter.Unmarshal(raw, MaxPaperBytes, &p); err != nil {
		return p, fmt.Errorf("the paper of a round: %w", err)
	}
	if len(p.Proposal.Changes) == 0 || len(p.Proposal.Obligations) > MaxRoundObligations {
		return p, fmt.Errorf("%d changes in %d obligations: %w", len(p.Proposal.Changes),
			len(p.Proposal.Obligations), ErrRound)
	}
	for _, l := range p.Proposal.Labels {
		if !letter.CircleID(l.Circle).Valid() {
			return p, fmt.Errorf("%.40q is no circle: %w", l.Circle, ErrRound)
		}
	}
	if err := Check(p.Proposal); err != nil {
		return p, fmt.Errorf("%w: %w", ErrRound, err)
	}
	return p, nil
}

// Consent is a circle's signature under a paper.
type Consent struct {
	Circle letter.CircleID   `cbor:"1,keyasint"`
	Key    ed25519.PublicKey `cbor:"2,keyasint"` // that the circle was founded with: its id is made from it
	Sig    []byte            `cbor:"3,keyasint"`
}

// Consents returns the consent to a paper of the circle with this key.
func Consents(key ed25519.PrivateKey, paper PaperHash) Consent {
	pub := key.Public().(ed25519.PublicKey)
	return Consent{
		Circle: letter.CircleIDOf(pub), Key: pub, Sig: letter.ForConsent.Sign(key, paper[:]),
	}
}

// Check tells whether the circle consented to the paper.
func (c Consent) Check(verify letter.Verifier, paper PaperHash) error {
	if len(c.Key) != ed25519.PublicKeySize || letter.CircleIDOf(c.Key) != c.Circle {
		return fmt.Errorf("the consent of %.40q is by another: %w", c.Circle, ErrRound)
	}
	if err := verify(letter.ForConsent, c.Key, paper[:], c.Sig); err != nil {
		return fmt.Errorf("the consent of %s: %w", c.Circle, err)
	}
	return nil
}

// Outcome is what became of a round. CBOR keys 6 and up are free.
type Outcome struct {
	Hub      letter.CircleID `cbor:"1,keyasint"`
	Number   uint64          `cbor:"2,keyasint"`
	Paper    PaperHash       `cbor:"3,keyasint"`
	Cleared  bool            `cbor:"4,keyasint"`
	Consents []Consent       `cbor:"5,keyasint"` // of every circle in it, if cleared
}

// Encode returns the outcome's bytes, the same for the same outcome.
func (o Outcome) Encode() ([]byte, error) { return letter.Marshal(o) }

// OpenOutcome reads an outcome that the hub with this key signed. Whether the consents in it are, Of tells.
func OpenOutcome(verify letter.Verifier, hub ed25519.PublicKey, s letter.Signed) (Outcome, error) {
	var o Outcome
	if len(s.Bytes) > MaxOutcomeBytes {
		return o, fmt.Errorf("an outcome of %d bytes, at most %d: %w", len(s.Bytes), MaxOutcomeBytes,
			ErrRound)
	}
	if err := verify(letter.ForOutcome, hub, s.Bytes, s.Sig); err != nil {
		return o, fmt.Errorf("the outcome of a round: %w", err)
	}
	if err := letter.Unmarshal(s.Bytes, MaxOutcomeBytes, &o); err != nil {
		return o, fmt.Errorf("the outcome of a round: %w", err)
	}
	return o, nil
}

// Of checks that an outcome is this paper's and, if cleared, that every circle in it consented.
func (o Outcome) Of(verify letter.Verifier, paper []byte, p Paper) error {
	hash := HashOf(paper)
	if o.Hub != p.Hub || o.Number != p.Number || o.Paper != hash {
		return fmt.Errorf("the outcome of another round: %w", ErrRound)
	}
	if !o.Cleared {
		return nil
	}
	circles := p.Circles()
	if len(o.Consents) != len(circles) {
		return fmt.Errorf("%d of %d circles consented: %w", len(o.Consents), len(circles), ErrRound)
	}
	for i, c := range o.Consents {
		if c.Circle != circles[i] {
			return fmt.Errorf("the consent of %s is missing: %w", circles[i], ErrRound)
		}
		if err := c.Check(verify, hash); err != nil {
			return err
		}
	}
	return nil
}
