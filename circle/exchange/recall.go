package exchange

import (
	"errors"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// Recall brings back letters of ours that a peer holds and we have forgotten, in order.
type Recall struct {
	Circle  string          `cbor:"1,keyasint" json:"circle"` // whom they were for
	Records []letter.Signed `cbor:"2,keyasint" json:"records"`
	Notes   []Opened        `cbor:"3,keyasint,omitempty" json:"-"`
}

// Opened is a note to ourselves in a record, opened at the edge: whose account it was about.
type Opened struct {
	Seq    uint64 `cbor:"1,keyasint"`
	Person string `cbor:"2,keyasint"`
}

// Recalled says how far our stream goes now.
type Recalled struct {
	Tail letter.Position `cbor:"1,keyasint" json:"tail"`
}

// Check implements machine.Checker.
func (r Recall) Check() error {
	if len(r.Records) == 0 || len(r.Records) > courier.MaxBatchRecords || len(r.Notes) > len(r.Records) {
		return machine.Refuse("malformed", "A recall holds 1 to %d records.", courier.MaxBatchRecords)
	}
	return nil
}

// selfNote is what a record of ours says to ourselves: whose account it was about. The peer keeps it for us.
// Logs from before there were lives have none.
func selfNote(r machine.Reader, sealed machine.Private, person string) ([]byte, error) {
	if !lives.Has(r, machine.Key{}) {
		return []byte{}, nil
	}
	if !sealed.IsSealed() {
		sealed = machine.Text(machine.OfCircle, person)
	}
	return letter.Marshal(sealed)
}

// NoteIn finds the note to ourselves in a record of ours, and in the PROPOSE of ours within an ACCEPT of
// theirs. It is opened at the edge, where it is sealed.
func NoteIn(r letter.Record) (machine.Private, bool) {
	var raw []byte
	switch r.Kind {
	case letter.Propose:
		b, err := payment.DecodePropose(r.Body)
		if err != nil {
			return machine.Private{}, false
		}
		raw = b.Note
	case letter.Accept:
		b, err := payment.DecodeAccept(r.Body)
		if err != nil {
			return machine.Private{}, false
		}
		raw = b.Note
	default:
		return machine.Private{}, false
	}
	var note machine.Private
	err := letter.Unmarshal(raw, payment.MaxNoteBytes, &note)
	return note, err == nil && note.Of == machine.OfCircle
}

// NotesIn finds the notes to ourselves that a command about records needs opened, by the place of the record
// that they are in: of an ACCEPT of theirs, that in our PROPOSE.
func NotesIn(us letter.CircleID, records []letter.Signed) (seqs []uint64, notes []machine.Private) {
	for _, s := range records {
		r, err := letter.Decode(s.Bytes)
		if err != nil {
			continue
		}
		if r.From != us && r.Kind == letter.Accept {
			yes, err := payment.DecodeAccept(r.Body)
			if err != nil {
				continue
			}
			if r, err = letter.Decode(yes.Propose.Bytes); err != nil {
				continue
			}
		}
		if note, ok := NoteIn(r); ok && r.From == us && note.IsSealed() {
			seqs, notes = append(seqs, r.Seq), append(notes, note)
		}
	}
	return seqs, notes
}

// holder returns the account that a record of ours was about: whose note says so, if they are still known.
func holder(tx *machine.Tx, r letter.Record, notes []Opened) string {
	note, ok := NoteIn(r)
	person := note.Clear()
	for _, n := range notes {
		if ok && note.IsSealed() && n.Seq == r.Seq {
			person = n.Person
		}
	}
	return coin.Holder(tx, person, apart.Has(tx, machine.Key{}))
}

func (o Options) recall(tx *machine.Tx, b Recall) (Recalled, error) {
	peer, err := knownPeer(tx, b.Circle)
	if err != nil {
		return Recalled{}, err
	}
	p, _ := pairs.Get(tx, peerKey(peer.Circle))
	if p.Recall <= p.Tail.Seq {
		return Recalled{}, machine.Refuse("nothing_to_recall", "%s holds no more of ours than we do.",
			peer.Name)
	}
	for _, s := range b.Records {
		if err := o.takeBack(tx, peer, &p, s, b.Notes); err != nil {
			return Recalled{}, err
		}
	}
	pairs.Put(tx, peerKey(peer.Circle), p)
	return Recalled{Tail: p.Tail}, nil
}

// takeBack puts one record of ours back to where it was, and does what it says once more.
func (o Options) takeBack(tx *machine.Tx, peer Peer, p *pair, s letter.Signed, notes []Opened) error {
	us, _ := member.TheCircle(tx)
	r, h, err := o.Verify.Open(us.Key, s)
	if err != nil || string(r.From) != us.ID || r.To != peer.Circle {
		return machine.Refuse("malformed", "This is no letter of ours to %s.", peer.Name)
	}
	tail, err := letter.Follow(p.Tail, r, h)
	if errors.Is(err, letter.ErrOld) {
		return nil
	}
	if err != nil {
		return machine.Refuse("malformed", "This letter of ours does not follow the last one: %v.", err)
	}
	p.Tail = tail
	outbox.Put(tx, peerKey(peer.Circle).Num(r.Seq), s.Bytes)
	switch r.Kind {
	case letter.Offer, letter.Agree:
		return agreedBefore(tx, peer, p, r)
	default:
		return o.replayed(tx, peer, p, r, s, notes)
	}
}

// agreedBefore takes our own terms back.
func agreedBefore(tx *machine.Tx, peer Peer, p *pair, r letter.Record) error {
	var ours Terms
	if err := letter.Unmarshal(r.Body, 1024, &ours); err != nil {
		return err
	}
	switch {
	case p.Since == 0:
		p.Ours = ours
		if r.Kind == letter.Agree {
			return inForce(tx, peer, p)
		}
	case r.Kind == letter.Agree && !p.Ours.same(ours):
		p.Ours.LimitMinutes = min(p.Ours.LimitMinutes, ours.LimitMinutes)
		p.Ours.ReviewOn = min(p.Ours.ReviewOn, ours.ReviewOn)
		return coin.SetCircleLimit(tx, string(peer.Circle), peer.Name, p.Ours.LimitMinutes)
	}
	return nil
}

// replayed does once more what a record about a payment says.
func (o Options) replayed(
	tx *machine.Tx, peer Peer, p *pair, r letter.Record, s letter.Signed, notes []Opened,
) error {
	tid, side, ok, err := payment.OwnPayment(r)
	if err != nil || !ok {
		return err
	}
	pm, _ := payments.Get(tx, ref{Peer: peer.Circle, Side: side, TID: tid}.key())
	return o.step(tx, peer, p, pm, payment.Replay{
		Peer: peer.Circle, Record: r, Signed: s, Account: holder(tx, r, notes), At: tx.Now(),
	})
}
