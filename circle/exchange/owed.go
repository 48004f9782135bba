package exchange

import (
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// owed is a receipt that was not written with the credit it is for: only the simulation has any, with
// payment.ReceiptAtOnce off. A node that dies before it wrote the receipt has forgotten it.
type owed struct {
	Life courier.Nonce   `cbor:"1,keyasint"`
	Peer letter.CircleID `cbor:"2,keyasint"`
	Body []byte          `cbor:"3,keyasint"`
}

var owing = machine.NewTable[owed]("exchange", "owed")

func owe(tx *machine.Tx, pm payment.Payment, body []byte) {
	owing.Put(tx, machine.Key{}.Bytes(pm.TID[:]), owed{Life: Life(tx), Peer: pm.Peer, Body: body})
}

// writeOwed writes the receipts that this life remembers.
func (o Options) writeOwed(tx *machine.Tx) error {
	var keys []machine.Key
	var all []owed
	for key, x := range owing.All(tx, nil, nil) {
		keys, all = append(keys, key), append(all, x)
	}
	for i, x := range all {
		owing.Delete(tx, keys[i])
		peer, _ := peers.Get(tx, peerKey(x.Peer))
		p, _ := pairs.Get(tx, peerKey(x.Peer))
		if x.Life != Life(tx) || !o.fresh(tx, p) {
			continue
		}
		if _, err := o.appendRecord(tx, peer, &p, letter.Accept, x.Body); err != nil {
			return err
		}
		pairs.Put(tx, peerKey(x.Peer), p)
	}
	return nil
}
