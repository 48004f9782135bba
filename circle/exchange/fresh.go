package exchange

import (
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// A circle may have been put back to an older copy without anybody having told it, such as by a disk that was
// copied. So whenever a node begins to write this circle's letters, nothing new is written to a peer, and
// nothing taken from it, before the peer has said that it holds no more of ours than we do. If it holds more,
// our own letters are taken back from it first: the peer is the memory that outlives us.

// Begin begins a new life of this circle's letters: what was agreed with peers' nodes before is void.
type Begin struct {
	Nx courier.Nonce `cbor:"1,keyasint" json:"nx"`
	// From now on, what is taken back for people who were forgotten is kept for each of them by itself.
	Apart bool `cbor:"2,keyasint,omitempty" json:"apart,omitempty"`
}

// Heard is what came of a peer's WELCOME.
type Heard struct {
	Fresh  bool   `cbor:"1,keyasint" json:"fresh"`
	Recall uint64 `cbor:"2,keyasint" json:"recall"` // not 0: they hold ours as far as this
	Frozen string `cbor:"3,keyasint" json:"frozen,omitempty"`
}

// ForCourier is what the courier goes by. The zero Heard is of a WELCOME that was refused.
func (h Heard) ForCourier() courier.Heard {
	switch {
	case h.Fresh && h.Frozen == "":
		return courier.Fresh
	case h.Recall > 0 && h.Frozen == "":
		return courier.Behind
	default:
		return courier.Denied
	}
}

// HearWelcome brings the peer's signed WELCOME into the log.
type HearWelcome struct {
	Welcome courier.Welcome `cbor:"1,keyasint" json:"welcome"`
}

func begin(tx *machine.Tx, b Begin) (machine.None, error) {
	if b.Nx == (courier.Nonce{}) {
		return machine.None{}, machine.Refuse("malformed", "A life has a name.")
	}
	lives.Put(tx, machine.Key{}, b.Nx)
	if b.Apart {
		apart.Put(tx, machine.Key{}, true)
	}
	return machine.None{}, nil
}

// Life returns in which life the circle's letters are.
func Life(r machine.Reader) courier.Nonce {
	nx, _ := lives.Get(r, machine.Key{})
	return nx
}

// fresh tells whether letters may be written to a peer. Logs from before there were lives have none.
func (o Options) fresh(r machine.Reader, p pair) bool {
	nx, ok := lives.Get(r, machine.Key{})
	return !ok || p.Fresh == nx || o.Protocol.Off == payment.FreshFirst
}

func notHeard(peer Peer) error {
	return machine.Later("not_heard", "%s could not be reached since this circle's machine was started, so"+
		" nothing can be sent there yet. Try again a little later.", peer.Name)
}

func (o Options) welcomed(tx *machine.Tx, b HearWelcome) (Heard, error) {
	w := b.Welcome
	peer, err := knownPeer(tx, string(w.From))
	if err != nil {
		return Heard{}, err
	}
	p, _ := pairs.Get(tx, peerKey(peer.Circle))
	switch {
	case p.Frozen != "":
		return Heard{}, machine.Refuse("frozen", "Exchange with %s is stopped.", peer.Name)
	case w.Nx != Life(tx):
		return Heard{}, machine.Refuse("session_void", "This welcome is for an earlier life.")
	case courier.VerifyWelcomeWith(o.Verify, peer.Key, w) != nil:
		return Heard{}, machine.Refuse("malformed", "This welcome is not signed by %s.", peer.Name)
	}
	switch {
	case w.Held.Seq > p.Tail.Seq && o.Protocol.Off == payment.ReplayOwn:
		p.Tail, p.Fresh = w.Held, w.Nx
	case w.Held.Seq > p.Tail.Seq:
		p.Recall = w.Held.Seq
	case !Agrees(tx, peer.Circle, w.Held):
		freezePair(tx, peer, &p, letter.Signed{}, w.Held.Seq,
			"they hold other letters than those in our books, which may be of a time that was left")
	default:
		p.Fresh, p.Recall, p.Acked = w.Nx, 0, max(p.Acked, w.Held.Seq)
		p.Owed, p.OwedBy = w.Tail, 0
		if w.Tail > 0 {
			p.OwedBy = tx.Now() + owedMillis
		}
		if err := o.beginEpoch(tx, peer, &p); err != nil {
			return Heard{}, err
		}
		if err := o.offer(tx, peer, &p); err != nil {
			return Heard{}, err
		}
	}
	pairs.Put(tx, peerKey(peer.Circle), p)
	return Heard{Fresh: p.Fresh == w.Nx, Recall: p.Recall, Frozen: p.Frozen}, nil
}

// beginEpoch tells the peer that the books were put back from a backup: letters of the time that was left do
// not fit behind this one.
func (o Options) beginEpoch(tx *machine.Tx, peer Peer, p *pair) error {
	epoch := timeline.Newest(tx).Epoch
	if epoch <= p.Tail.Epoch {
		return nil
	}
	raw, tail, err := o.next(tx, peer.Circle, p, letter.Epoch, []byte{}, epoch)
	if err != nil {
		return err
	}
	p.Tail = tail
	outbox.Put(tx, peerKey(peer.Circle).Num(tail.Seq), raw)
	return nil
}
