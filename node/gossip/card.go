package gossip

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/memberlist"
)

const cardVersion = 1

// card is what a replica tells of itself. It travels as memberlist's metadata: the host key's signature,
// then these bytes.
type card struct {
	_       struct{} `cbor:",toarray"`
	Version uint
	ID      string
	Name    string // in memberlist: new at each start, so that an old address is no conflict
	Host    []byte
	Seq     int64 // nanoseconds, and more than in any card before of this start
	Addrs   []string
}

// newName draws a name for this start.
func newName() string {
	b := make([]byte, nameBytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// signed is what the signature covers: the use and the circle go first, so that a card is good for nothing
// else.
func signed(circle string, body []byte) []byte {
	return fmt.Appendf(nil, "%s\x00%s\x00%s", keyLabel, circle, body)
}

// sign makes this replica's card anew.
func (g *Gossip) sign(name string, addrs []string) error {
	if len(addrs) > maxAddrs {
		return fmt.Errorf("%d addresses: give at most %d", len(addrs), maxAddrs)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := card{
		Version: cardVersion, ID: g.cfg.ID, Name: name, Host: g.cfg.Host.Public().(ed25519.PublicKey),
		Seq: max(time.Now().UnixNano(), g.mine.Seq+1), Addrs: addrs,
	}
	body, err := cbor.Marshal(c)
	if err != nil {
		return fmt.Errorf("write card: %w", err)
	}
	meta := append(ed25519.Sign(g.cfg.Host, signed(g.cfg.Circle, body)), body...)
	if len(meta) > memberlist.MetaMaxSize {
		return fmt.Errorf("the addresses are %d bytes too long together", len(meta)-memberlist.MetaMaxSize)
	}
	g.mine, g.meta = c, meta
	return nil
}

// read takes a card from the metadata of the node named.
func read(circle, name string, meta []byte) (card, error) {
	var c card
	if len(meta) < ed25519.SignatureSize || len(meta) > memberlist.MetaMaxSize {
		return c, fmt.Errorf("card of %d bytes", len(meta))
	}
	signature, body := meta[:ed25519.SignatureSize], meta[ed25519.SignatureSize:]
	if err := cbor.Unmarshal(body, &c); err != nil {
		return c, fmt.Errorf("read card: %w", err)
	}
	switch {
	case c.Version != cardVersion:
		return c, fmt.Errorf("card of version %d, this replica knows %d", c.Version, cardVersion)
	case c.ID == "" || len(c.ID) > maxIDBytes || len(c.Addrs) > maxAddrs:
		return c, errors.New("card is out of limits")
	case c.Name != name:
		return c, errors.New("card is another start's")
	case len(c.Host) != ed25519.PublicKeySize || !ed25519.Verify(c.Host, signed(circle, body), signature):
		return c, errors.New("signature of the card does not verify")
	}
	return c, nil
}
