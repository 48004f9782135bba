package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
)

const secretBytes = 20 // 160 bits: 32 letters and digits

// NewSecret makes the secret of a link or session: 160 random bits as 32 small letters and digits 2 to 7.
// Only the hash is ever kept; it is both HashLink and HashToken of the secret.
func NewSecret() (secret string, hash machine.Hash, err error) {
	var b [secretBytes]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", machine.Hash{}, fmt.Errorf("make secret: %w", err)
	}
	secret = strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
	return secret, HashToken(secret), nil
}

// HashToken returns the hash under which a session's or the operator's token is known.
func HashToken(token string) machine.Hash { return sha256.Sum256([]byte(token)) }

// HashLink returns the hash under which a link's secret is known. It forgives what happens to a secret that
// is read out or copied from paper: capitals, spaces, dashes, and digits for the letters they look like.
func HashLink(secret string) machine.Hash {
	return HashToken(misread.Replace(strings.ToLower(secret)))
}

var misread = strings.NewReplacer(
	" ", "", "-", "", "\t", "", "\n", "", "\r", "", "0", "o", "1", "l", "8", "b",
)

// Grouped returns a secret in groups of four, for paper and telephone.
func Grouped(secret string) string {
	var b strings.Builder
	for i, r := range secret {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return b.String()
}
