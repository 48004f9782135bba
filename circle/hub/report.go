package hub

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// Report is what the calling circle knows of verdicts on payments with one peer, or a part of it.
type Report struct {
	Peer         string          `cbor:"1,keyasint" json:"peer"`
	Epoch        uint64          `cbor:"2,keyasint" json:"epoch"` // of the hub
	Certificates []letter.Signed `cbor:"3,keyasint" json:"certificates"`
	Last         bool            `cbor:"4,keyasint" json:"last"`
}

// Check implements machine.Checker.
func (r Report) Check() error {
	if !letter.CircleID(r.Peer).Valid() || len(r.Certificates) > courier.MaxReported {
		return machine.Refuse("malformed", "A report is about one circle, and of few certificates.")
	}
	return nil
}

var reports = machine.NewTable[uint64]("hub", "report") // who, about whom: the hub's epoch

// Epoch returns how often the hub's books were put back.
func Epoch(r machine.Reader) uint64 { return timeline.Newest(r).Epoch }

// told tells whether both circles have said what they know, since the books were last put back.
func told(r machine.Reader, c payment.Certificate) bool {
	said := func(who, about letter.CircleID) bool {
		epoch, _ := reports.Get(r, machine.Key{}.Str(string(who)).Str(string(about)))
		return epoch == Epoch(r)
	}
	return Epoch(r) == 0 || said(c.Payer, c.Payee) && said(c.Payee, c.Payer)
}

func (f office) report(tx *machine.Tx, b Report) (machine.None, error) {
	who, _ := tx.Caller().Peer()
	us, _ := member.TheCircle(tx)
	if _, known := exchange.KeyOf(tx, letter.CircleID(who)); !known {
		return machine.None{}, machine.Refuse("unknown_circle", "The hub does not know this circle.")
	}
	if b.Epoch != Epoch(tx) {
		return machine.None{}, machine.Refuse("epoch_old", "The hub is in epoch %d.", Epoch(tx))
	}
	for _, s := range b.Certificates {
		c, err := payment.OpenCertificate(f.Verify, us.Key, s)
		if err != nil {
			return machine.None{}, machine.Refuse("malformed", "This is no certificate of ours: %v.", err)
		}
		key := machine.Key{}.Str(string(c.Payer)).Bytes(c.TID[:])
		if !verdicts.Has(tx, key) {
			verdicts.Put(tx, key, c)
			counts.Put(tx, machine.Key{}, max(Verdicts(tx), c.Index))
		}
	}
	if b.Last {
		reports.Put(tx, machine.Key{}.Str(who).Str(b.Peer), b.Epoch)
	}
	return machine.None{}, nil
}
