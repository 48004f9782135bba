package charter

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/carecircle/carecircle/federation/letter"
)

const (
	invitationPrefix  = "carecircle-invitation-v1:"
	invitationVersion = 1
)

// SecretBytes is the length of an invitation's secret.
const SecretBytes = 16

// Invitation is what a hub gives to a circle that is to join its federation: one line of text. Whoever has it
// can join in the circle's place, once. CBOR keys 4 and up are free.
type Invitation struct {
	Version uint8  `cbor:"1,keyasint"`
	Card    []byte `cbor:"2,keyasint"` // the hub's, as sealed
	Secret  []byte `cbor:"3,keyasint"` // SecretBytes drawn by chance
}

// Text returns the line.
func (i Invitation) Text() (string, error) {
	i.Version = invitationVersion
	raw, err := letter.Marshal(i)
	if err != nil {
		return "", fmt.Errorf("writing an invitation: %w", err)
	}
	return invitationPrefix + base64.RawURLEncoding.EncodeToString(raw), nil
}

// IsInvitation tells whether a text begins as an invitation does, rather than a card.
func IsInvitation(text string) bool {
	return strings.HasPrefix(strings.TrimSpace(text), invitationPrefix)
}

// ParseInvitation reads what Text wrote, and the hub's card in it. White space and line ends that a mail
// programme put in are ignored.
func ParseInvitation(text string) (Invitation, Card, error) {
	raw, err := unwrap(text, invitationPrefix, "an invitation")
	if err != nil {
		return Invitation{}, Card{}, err
	}
	var i Invitation
	if err := letter.CheckVersion(raw, MaxTextBytes, invitationVersion); err != nil {
		return Invitation{}, Card{}, fmt.Errorf("reading an invitation: %w", err)
	}
	if err := letter.Unmarshal(raw, MaxTextBytes, &i); err != nil {
		return Invitation{}, Card{}, fmt.Errorf("reading an invitation: %w", err)
	}
	if len(i.Secret) != SecretBytes {
		return Invitation{}, Card{}, fmt.Errorf("reading an invitation: a secret of %d bytes: %w",
			len(i.Secret), letter.ErrMalformed)
	}
	card, err := OpenCard(i.Card)
	return i, card, err
}

// unwrap takes a line of text apart that people may have broken.
func unwrap(text, prefix, what string) ([]byte, error) {
	if len(text) > MaxTextBytes {
		return nil, fmt.Errorf("reading %s: %d characters, at most %d: %w", what, len(text), MaxTextBytes,
			letter.ErrTooLarge)
	}
	text, found := strings.CutPrefix(strings.Join(strings.Fields(text), ""), prefix)
	if !found {
		return nil, fmt.Errorf("reading %[1]s: %[1]s begins with %[2]q: %[3]w", what, prefix,
			letter.ErrMalformed)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: part of it is missing or changed: %w: %w", what,
			letter.ErrMalformed, err)
	}
	return raw, nil
}
