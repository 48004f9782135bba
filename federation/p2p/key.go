package p2p

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// NewKey makes a host key from the system's randomness. Keep it secret; a new key is a new peer id.
func NewKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("p2p: new host key: %w", err)
	}
	return key, nil
}

// PeerID is the libp2p peer id of a host's public key, as it stands in addresses after /p2p/.
func PeerID(key ed25519.PublicKey) (string, error) {
	public, err := crypto.UnmarshalEd25519PublicKey(key)
	if err != nil {
		return "", fmt.Errorf("p2p: peer id: want a public key of %d bytes: %w", ed25519.PublicKeySize, err)
	}
	id, err := peer.IDFromPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("p2p: peer id: %w", err)
	}
	return id.String(), nil
}
