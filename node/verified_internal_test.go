package node

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/carecircle/carecircle/federation/letter"
)

// TestVerified: what was good stays good, and nothing else becomes so.
func TestVerified(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	pub := key.Public().(ed25519.PublicKey)
	s := letter.Sign(key, []byte("a record"))
	v := newVerified()
	v.made(letter.ForRecord, pub, letter.Sign(key, []byte("one of ours")))
	for range 2 {
		if err := v.check(letter.ForRecord, pub, s.Bytes, s.Sig); err != nil {
			t.Error(err)
		}
	}
	other := ed25519.NewKeyFromSeed([]byte("another circle's key, 32 bytes..")).Public().(ed25519.PublicKey)
	forged := append([]byte{}, s.Sig...)
	forged[3] ^= 1
	for name, err := range map[string]error{
		"another purpose":  v.check(letter.ForCard, pub, s.Bytes, s.Sig),
		"another key":      v.check(letter.ForRecord, other, s.Bytes, s.Sig),
		"no key":           v.check(letter.ForRecord, nil, append(pub, s.Bytes...), s.Sig),
		"other bytes":      v.check(letter.ForRecord, pub, []byte("a recorD"), s.Sig),
		"another's":        v.check(letter.ForRecord, pub, []byte("one of ours"), s.Sig),
		"a forged one":     v.check(letter.ForRecord, pub, s.Bytes, forged),
		"a shorter one":    v.check(letter.ForRecord, pub, s.Bytes, s.Sig[:63]),
		"a longer one":     v.check(letter.ForRecord, pub, s.Bytes, append(s.Sig, 'a')),
		"moved to its end": v.check(letter.ForRecord, pub, s.Bytes[1:], append(s.Sig, s.Bytes[0])),
	} {
		if !errors.Is(err, letter.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range 3 * maxVerified {
		v.add(markOf(letter.ForRecord, pub, []byte{byte(i), byte(i >> 8)}, s.Sig))
	}
	if len(v.good) > maxVerified {
		t.Errorf("%d are remembered", len(v.good))
	}
}
