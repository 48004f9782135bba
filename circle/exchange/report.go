package exchange

import (
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
)

// A hub whose books were put back from a backup may have forgotten verdicts. It gives none on payments
// between two circles until both have told it, each for this pair, which certificates they have; and from
// then on they take none of an earlier epoch from it, so that none can come late. What both and the hub
// forgot, never was.

// Report has this circle tell the hub, in an epoch of the hub's, what it knows about payments with a peer.
type Report struct {
	Circle string `cbor:"1,keyasint" json:"circle"`
	Epoch  uint64 `cbor:"2,keyasint" json:"epoch"`
}

var certificates = machine.NewTable[letter.Signed]("exchange", "certificate") // peer, payer's side, tid

func (o Options) report(tx *machine.Tx, b Report) (machine.None, error) {
	peer, err := knownPeer(tx, b.Circle)
	if err != nil {
		return machine.None{}, err
	}
	p, _ := pairs.Get(tx, peerKey(peer.Circle))
	if !o.fresh(tx, p) {
		return machine.None{}, notHeard(peer) // what they hold of ours may say more
	}
	if b.Epoch < p.HubEpoch {
		return machine.None{}, machine.Refuse("epoch_old", "The hub is in epoch %d.", p.HubEpoch)
	}
	p.HubEpoch = b.Epoch
	pairs.Put(tx, peerKey(peer.Circle), p)
	return machine.None{}, nil
}

// Certificates returns what this circle knows of verdicts on payments with a peer, all of them.
func Certificates(r machine.Reader, peer letter.CircleID) (out []letter.Signed) {
	for _, s := range certificates.All(r, peerKey(peer), nil) {
		out = append(out, s)
	}
	return out
}

// Reportable lists the peers about whom this circle can tell the hub what it knows.
func Reportable(r machine.Reader) (out []letter.CircleID) {
	for _, peer := range peers.All(r, nil, nil) {
		p, known := pairs.Get(r, peerKey(peer.Circle))
		if known && p.Frozen == "" && (Options{}).fresh(r, p) {
			out = append(out, peer.Circle)
		}
	}
	return out
}
