package courier_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/carecircle/carecircle/federation/courier"
)

// TestLeaving: a home believes its own word on who left, and only for this person, this move, this circle.
func TestLeaving(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	said := courier.Leaving{From: circle(1), To: circle(2), ID: "a", Person: "pdev"}
	sig := said.Sign(key)
	if !said.Signed(key.Public().(ed25519.PublicKey), sig) {
		t.Error("its own word is not believed")
	}
	if said.Signed(other.Public().(ed25519.PublicKey), sig) || said.Signed(nil, nil) {
		t.Error("another's word is believed")
	}
	for _, l := range []courier.Leaving{
		{circle(3), circle(2), "a", "pdev"},
		{circle(1), circle(3), "a", "pdev"},
		{circle(1), circle(2), "b", "pdev"},
		{circle(1), circle(2), "a", "pben"},
		{},
	} {
		if l.Signed(key.Public().(ed25519.PublicKey), sig) {
			t.Errorf("%+v is believed", l)
		}
	}
}

// TestLeavingWhole: who left and the signature come together or not at all.
func TestLeavingWhole(t *testing.T) {
	whole := messages(t)["movepacketsigned"].(courier.MovePacket)
	again := messages(t)["movearrivedagain"].(courier.MoveArrived)
	for _, bad := range []struct {
		person string
		proof  []byte
	}{{"", whole.Proof}, {"pdev", nil}, {"pdev", whole.Proof[1:]}, {"p\x00dev", whole.Proof}} {
		whole.Person, whole.Proof = bad.person, bad.proof
		again.Person, again.Proof = bad.person, bad.proof
		for _, msg := range []any{whole, again} {
			if _, err := courier.Encode(msg); !errors.Is(err, courier.ErrMessage) {
				t.Errorf("%+v: %v", msg, err)
			}
		}
	}
}
