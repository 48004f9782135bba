package replicas

import (
	"crypto/ed25519"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
)

// Limits of a circle's replicas.
const (
	MaxReplicas         = 5
	MaxAddrs            = 8
	maxAddrBytes        = 256
	maxIDBytes          = 64
	MaxInvitationMillis = 7 * 24 * 60 * 60 * 1000
)

// Register writes down where a replica is reached. The first one that a circle registers is its replica of
// the beginning; others come by Join.
type Register struct {
	ID      string   `cbor:"1,keyasint" json:"id"`
	Host    []byte   `cbor:"2,keyasint" json:"host" doc:"the machine's public key (Ed25519)"`
	Addrs   []string `cbor:"3,keyasint,omitempty" json:"addrs,omitempty" doc:"for the other replicas"`
	Letters []string `cbor:"4,keyasint,omitempty" json:"letters,omitempty" doc:"for other circles"`
	Gossip  string   `cbor:"5,keyasint,omitempty" json:"gossip,omitempty" doc:"for the others' gossip"`
}

// Invite readies a one-time invitation for another machine.
type Invite struct {
	Invitation machine.Hash `cbor:"1,keyasint" json:"invitation" doc:"SHA-256 of the secret"`
	Until      int64        `cbor:"2,keyasint" json:"until" doc:"when it ends, Unix milliseconds"`
}

// Join uses an invitation up.
type Join struct {
	Invitation machine.Hash `cbor:"1,keyasint" json:"invitation"`
	Host       []byte       `cbor:"2,keyasint" json:"host" doc:"the machine's public key (Ed25519)"`
	Addrs      []string     `cbor:"3,keyasint,omitempty" json:"addrs,omitempty" doc:"for the other replicas"`
	Gossip     string       `cbor:"4,keyasint,omitempty" json:"gossip,omitempty" doc:"for the others' gossip"`
}

// Joined says what the new replica is called.
type Joined struct {
	ID string `cbor:"1,keyasint" json:"id"`
}

// Named is a command about one replica.
type Named struct {
	ID string `cbor:"1,keyasint" json:"id" doc:"the replica's id"`
}

// Renewed says which life of the replica begins.
type Renewed struct {
	Life uint32 `cbor:"1,keyasint" json:"life"`
}

// Listing is every replica there is or was.
type Listing struct {
	Replicas []Replica `json:"replicas"`
}

// Check implements machine.Checker.
func (b Register) Check() error {
	if err := checkID(b.ID); err != nil {
		return err
	}
	return checkMachine(b.Host, b.Gossip, b.Addrs, b.Letters)
}

// Check implements machine.Checker.
func (b Invite) Check() error {
	if b.Invitation == (machine.Hash{}) {
		return machine.Refuse("link_missing", "An invitation needs a secret.")
	}
	return nil
}

// Check implements machine.Checker.
func (b Join) Check() error { return checkMachine(b.Host, b.Gossip, b.Addrs) }

// Check implements machine.Checker.
func (b Named) Check() error { return checkID(b.ID) }

func checkID(id string) error {
	if id == "" || len(id) > maxIDBytes || strings.ContainsFunc(id, notPlain) {
		return machine.Refuse("replica_unknown",
			"%.64q is no replica's id. The list: carecircle replica list.", id)
	}
	return nil
}

func notPlain(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
}

// CheckHost refuses what is no machine's public key.
func CheckHost(host []byte) error {
	if len(host) != ed25519.PublicKeySize {
		return machine.Refuse("bad_host", "The machine's key has %d bytes, must have %d.", len(host),
			ed25519.PublicKeySize)
	}
	return nil
}

func checkMachine(host []byte, gossip string, lists ...[]string) error {
	if err := CheckHost(host); err != nil {
		return err
	}
	if len(gossip) > maxAddrBytes {
		return machine.Refuse("bad_address", "%.60q is no address that fits.", gossip)
	}
	for _, addrs := range lists {
		if len(addrs) > MaxAddrs {
			return machine.Refuse("too_many", "A replica has at most %d addresses.", MaxAddrs)
		}
		for _, a := range addrs {
			if a == "" || len(a) > maxAddrBytes {
				return machine.Refuse("bad_address", "%.60q is no address that fits.", a)
			}
		}
	}
	return nil
}
