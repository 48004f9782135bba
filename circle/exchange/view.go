package exchange

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// MaxPaymentsShown bounds one answer of exchange.payments.
const MaxPaymentsShown = 100

// Paid answers exchange.pay: the payment's id, and its state in a word.
type Paid struct {
	Payment machine.ID `cbor:"1,keyasint" json:"payment"`
	State   string     `cbor:"2,keyasint" json:"state"` // proposed, settled or returned
}

// Alliance is how this circle stands with another.
type Alliance struct {
	Circle       string `json:"circle"`
	Name         string `json:"name"`
	Place        string `json:"place"`
	State        string `json:"state"`        // known, offered-by-us, offered-by-them, in-force, stopped
	Minutes      int64  `json:"minutes"`      // circle account; positive: we owe them
	HeldMinutes  int64  `json:"heldMinutes"`  // on the way to them
	LimitMinutes int64  `json:"limitMinutes"` // either way
	ReviewOn     string `json:"reviewOn"`
	Decision     string `json:"decision"`
	Since        int64  `json:"since"`
	Heard        int64  `json:"heard"`   // when their last letter came
	Waiting      uint64 `json:"waiting"` // payments they have not decided
	Why          string `json:"why,omitempty"`
	Sent         uint64 `json:"sent"` // letters in our stream to them
	Got          uint64 `json:"got"`  // letters in theirs to us
}

// Alliances lists every circle this one knows.
type Alliances struct {
	Alliances []Alliance `json:"alliances"`
}

// Payment is one of a person's payments to or from another circle.
type Payment struct {
	Payment  machine.ID `json:"payment"`
	Circle   string     `json:"circle"`
	Name     string     `json:"name"`
	Incoming bool       `json:"incoming"`
	State    string     `json:"state"`
	Minutes  int64      `json:"minutes"`
	At       int64      `json:"at"`
	Decided  int64      `json:"decided,omitempty"`
	Reason   string     `json:"reason,omitempty"`
}

// Payments are a person's payments across circles, newest first.
type Payments struct {
	Payments []Payment `json:"payments"`
}

// Code is the person's receiving code; empty: none yet.
type Code struct {
	Code string `json:"code"`
}

func views() []machine.View {
	return []machine.View{
		machine.Ask("exchange.alliances", "The circles this one knows, and how it stands with them.",
			member.Reading, alliances),
		machine.Ask("exchange.books", "What you owe another circle by your books: a node compares the rest.",
			member.Secretary, books),
		machine.Ask("exchange.payments", "Your payments to and from other circles.",
			member.Signed, ownPayments),
		machine.Ask("exchange.code", "Your code for receiving coins from other circles.",
			member.Signed, ownCode),
	}
}

// word names a payment's state for people.
func word(pm payment.Payment) string {
	switch pm.State {
	case payment.Held:
		return "proposed"
	case payment.Settled, payment.Accepted, payment.WrittenOff:
		return "settled"
	case payment.Returned, payment.Rejected:
		return "returned"
	default:
		return "none"
	}
}

func alliances(rd machine.Read, _ machine.None) (Alliances, error) {
	out := Alliances{Alliances: []Alliance{}}
	for _, peer := range peers.All(rd, nil, nil) {
		p, _ := pairs.Get(rd, peerKey(peer.Circle))
		a := Alliance{
			Circle: string(peer.Circle), Name: peer.Name, Place: peer.Place, State: "known",
			LimitMinutes: p.Ours.LimitMinutes, ReviewOn: p.Ours.ReviewOn, Decision: p.Ours.Decision,
			Since: p.Since, Heard: p.Heard, Waiting: p.Open, Why: p.Frozen, Sent: p.Tail.Seq, Got: p.Held.Seq,
		}
		if p.Since == 0 && p.Wish.LimitMinutes != 0 {
			a.LimitMinutes, a.ReviewOn, a.Decision = p.Wish.LimitMinutes, p.Wish.ReviewOn, p.Wish.Decision
		}
		switch {
		case p.Frozen != "":
			a.State = "stopped"
		case p.Since != 0:
			a.State = "in-force"
		case p.Ours.LimitMinutes != 0 || p.Wish.LimitMinutes != 0:
			a.State = "offered-by-us"
		case p.Theirs.LimitMinutes != 0:
			a.State = "offered-by-them"
			a.LimitMinutes, a.ReviewOn = p.Theirs.LimitMinutes, p.Theirs.ReviewOn
		}
		if acc, ok := coin.ReadBooks(rd).Account(coin.Book, coin.CirclePrefix+a.Circle); ok {
			a.Minutes, a.HeldMinutes = acc.Posted, acc.HeldIn
		}
		out.Alliances = append(out.Alliances, a)
	}
	return out, nil
}

func ownPayments(rd machine.Read, _ machine.None) (Payments, error) {
	out := Payments{Payments: []Payment{}}
	for _, r := range ofPerson.Latest(rd, machine.Key{}.Str(rd.Person()), nil) {
		pm, _ := payments.Get(rd, r.key())
		peer, _ := peers.Get(rd, peerKey(r.Peer))
		out.Payments = append(out.Payments, Payment{
			Payment: machine.ID(pm.TID), Circle: string(pm.Peer), Name: peer.Name, State: word(pm),
			Incoming: pm.Side == payment.Payee, Minutes: pm.Minutes, At: pm.At, Decided: pm.Decided,
			Reason: pm.Reason,
		})
		if len(out.Payments) == MaxPaymentsShown {
			break
		}
	}
	return out, nil
}

func ownCode(rd machine.Read, _ machine.None) (Code, error) {
	code, _ := codeOf.Get(rd, machine.Key{}.Str(rd.Person()))
	return Code{Code: code}, nil
}

// PeerState is what the courier needs to know of a peer.
type PeerState struct {
	Peer
	Tail   letter.Position // of our stream to them
	Held   letter.Position // of theirs to us
	Frozen bool
	Why    string        // it is frozen
	Fresh  bool          // letters may be written to them, see Begin
	Recall uint64        // not 0: they hold ours as far as this, and it is to be taken back
	Life   courier.Nonce // theirs, as of their newest session with us
}

// Peers returns the known circles, for the courier.
func Peers(r machine.Reader) []PeerState {
	var out []PeerState
	for _, peer := range peers.All(r, nil, nil) {
		p, _ := pairs.Get(r, peerKey(peer.Circle))
		out = append(out, PeerState{
			Peer: peer, Tail: p.Tail, Held: p.Held, Frozen: p.Frozen != "", Why: p.Frozen,
			Fresh: Options{}.fresh(r, p), Recall: p.Recall, Life: p.Nx,
		})
	}
	return out
}

// Stream is how far our letters to a circle go, and how it stands with theirs.
type Stream struct {
	Circle letter.CircleID
	Tail   letter.Position
	Frozen bool
	Recall uint64        // see PeerState
	Life   courier.Nonce // see PeerState
}

// Streams is what of Peers changes with letters, without all else.
func Streams(r machine.Reader, circles []letter.CircleID) []Stream {
	out := make([]Stream, 0, len(circles))
	for _, id := range circles {
		p, _ := pairs.Get(r, peerKey(id))
		out = append(out, Stream{
			Circle: id, Tail: p.Tail, Frozen: p.Frozen != "", Recall: p.Recall, Life: p.Nx,
		})
	}
	return out
}

// Outbox returns our records to a peer from one sequence number to another, both included, unsigned.
func Outbox(r machine.Reader, to letter.CircleID, from, through uint64) [][]byte {
	var out [][]byte
	for seq := from; seq <= through; seq++ {
		raw, ok := outbox.Get(r, peerKey(to).Num(seq))
		if !ok {
			break
		}
		out = append(out, raw)
	}
	return out
}

// Inbox returns a peer's records to us from one sequence number to another, both included, as signed.
func Inbox(r machine.Reader, peer letter.CircleID, from, through uint64) []letter.Signed {
	var out []letter.Signed
	for seq := from; seq <= through; seq++ {
		s, ok := inbox.Get(r, peerKey(peer).Num(seq))
		if !ok {
			break
		}
		out = append(out, s)
	}
	return out
}

// Agrees tells whether a position that a peer claims to hold of our stream is one our stream had.
func Agrees(r machine.Reader, to letter.CircleID, held letter.Position) bool {
	if held.Seq == 0 {
		return held.Hash == letter.Hash{}
	}
	raw, ok := outbox.Get(r, peerKey(to).Num(held.Seq))
	return ok && letter.HashOf(raw) == held.Hash
}
