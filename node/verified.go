package node

import (
	"crypto/ed25519"
	"crypto/sha256"
	"sync"

	"github.com/carecircle/carecircle/federation/letter"
)

// maxVerified bounds the signatures that are remembered; then all are forgotten.
const maxVerified = 4096

// verified remembers signatures that were found good, or made here: a record of ours comes back within the
// answer to it, and is not checked twice. It may be used by many goroutines at once.
type verified struct {
	mu   sync.Mutex
	good map[[sha256.Size]byte]bool
}

func newVerified() *verified { return &verified{good: map[[sha256.Size]byte]bool{}} }

// check is a letter.Verifier.
func (v *verified) check(p letter.Purpose, pub ed25519.PublicKey, b, sig []byte) error {
	mark := markOf(p, pub, b, sig)
	v.mu.Lock()
	known := v.good[mark]
	v.mu.Unlock()
	if known {
		return nil
	}
	if err := p.Verify(pub, b, sig); err != nil {
		return err
	}
	v.add(mark)
	return nil
}

// made remembers a signature that was made here.
func (v *verified) made(p letter.Purpose, pub ed25519.PublicKey, s letter.Signed) {
	v.add(markOf(p, pub, s.Bytes, s.Sig))
}

func (v *verified) add(mark [sha256.Size]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.good) >= maxVerified {
		clear(v.good)
	}
	v.good[mark] = true
}

// markOf names a signature of something by somebody for a purpose. The lengths of key and signature are fixed
// where a signature is good.
func markOf(p letter.Purpose, pub ed25519.PublicKey, b, sig []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte(p)) // ends with a zero
	h.Write(pub)
	h.Write([]byte{byte(len(pub)), byte(len(sig))})
	h.Write(sig)
	h.Write(b)
	return [sha256.Size]byte(h.Sum(nil))
}
