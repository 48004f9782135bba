package sim

import (
	"bytes"
	"crypto/ed25519"

	"github.com/carecircle/carecircle/federation/letter"
)

// notary remembers which signatures are good, because it saw them made or has checked them: every replica,
// and every replay, checks each again, and that is most of the work of a run.
type notary struct {
	seen map[[ed25519.SignatureSize]byte]signedAs
}

type signedAs struct {
	purpose  letter.Purpose
	pub, raw []byte
}

func newNotary() *notary { return &notary{seen: map[[ed25519.SignatureSize]byte]signedAs{}} }

// verify is letter.Purpose.Verify.
func (n *notary) verify(p letter.Purpose, pub ed25519.PublicKey, b, sig []byte) error {
	if len(sig) == ed25519.SignatureSize {
		as, ok := n.seen[[ed25519.SignatureSize]byte(sig)]
		if ok && as.purpose == p && bytes.Equal(as.raw, b) && bytes.Equal(as.pub, pub) {
			return nil
		}
	}
	if err := p.Verify(pub, b, sig); err != nil {
		return err
	}
	n.note(p, pub, b, sig)
	return nil
}

func (n *notary) note(p letter.Purpose, pub ed25519.PublicKey, b, sig []byte) {
	n.seen[[ed25519.SignatureSize]byte(sig)] = signedAs{purpose: p, pub: pub, raw: b}
}

// sign signs a record of a town's.
func (s *sim) sign(t *town, raw []byte) letter.Signed {
	signed := letter.Sign(t.key, raw)
	s.notary.note(letter.ForRecord, t.public(), raw, signed.Sig)
	return signed
}
