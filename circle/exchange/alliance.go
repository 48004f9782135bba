package exchange

import (
	"bytes"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/letter"
)

// Met names the circle a card made known.
type Met struct {
	Circle string `cbor:"1,keyasint" json:"circle"`
	Name   string `cbor:"2,keyasint" json:"name"`
}

// Allied says how an alliance stands after one side's consent.
type Allied struct {
	InForce bool `cbor:"1,keyasint" json:"inForce"`
}

func meet(tx *machine.Tx, b Meet) (Met, error) { return MeetCard(tx, b.Card) }

// MeetCard makes another circle known by its card, or takes a newer card of one that is.
func MeetCard(tx *machine.Tx, raw []byte) (Met, error) {
	us, ok := member.TheCircle(tx)
	if !ok {
		return Met{}, machine.Refuse("not_founded", "Found the circle first: carecircle init.")
	}
	card, err := charter.OpenCard(raw)
	if err != nil {
		return Met{}, machine.Refuse("bad_card", "This is not a circle's card: %v.", err)
	}
	if string(card.Circle) == us.ID {
		return Met{}, machine.Refuse("own_card",
			"This is your own circle's card. Ask the other circle for theirs.")
	}
	old, known := peers.Get(tx, peerKey(card.Circle))
	switch {
	case known && bytes.Equal(old.Card, raw):
		return Met{Circle: string(card.Circle), Name: card.Name}, nil
	case known && card.Seq <= old.CardSeq:
		return Met{}, machine.Refuse("old_card", "A newer card of %s is known here.", old.Name)
	case !known && count(tx) >= MaxPeers:
		return Met{}, machine.Refuse("too_many",
			"This circle knows %d others, the most there can be.", MaxPeers)
	}
	met := tx.Now()
	if known {
		met = old.Met
	} else {
		tx.Emit(machine.Event{
			Kind: "exchange.met", Audience: []string{machine.AudienceCircle}, Words: card.Name,
			Subject: coin.CirclePrefix + string(card.Circle),
		})
	}
	peers.Put(tx, peerKey(card.Circle), Peer{
		Circle: card.Circle, Card: raw, CardSeq: card.Seq, Met: met,
		Name: card.Name, Place: card.Place, Key: card.Key,
	})
	return Met{Circle: string(card.Circle), Name: card.Name}, nil
}

func count(r machine.Reader) int {
	n := 0
	for range peers.All(r, nil, nil) {
		n++
	}
	return n
}

// ally records our consent. The first to consent sends an OFFER; whoever finds its own terms equal to the
// other's sends AGREE, and the alliance is in force there; AGREE puts it in force at the other end.
func (o Options) ally(tx *machine.Tx, b Ally) (Allied, error) {
	peer, err := knownPeer(tx, b.Circle)
	if err != nil {
		return Allied{}, err
	}
	if _, err := coin.PolicyOf(tx); err != nil {
		return Allied{}, err
	}
	p, _ := pairs.Get(tx, peerKey(peer.Circle))
	if p.Frozen != "" {
		return Allied{}, machine.Refuse("frozen", "Exchange with %s is stopped.", peer.Name)
	}
	ours := Terms{LimitMinutes: b.LimitMinutes, ReviewOn: b.ReviewOn, Decision: b.Decision}
	if p.Since != 0 && p.Ours.same(ours) {
		return Allied{InForce: true}, nil
	}
	if p.Since != 0 {
		return Allied{}, machine.Refuse("alliance_in_force",
			"The alliance with %s is in force with a limit of %s until its review.",
			peer.Name, coin.Coins(p.Ours.LimitMinutes))
	}
	p.Wish = ours
	if o.fresh(tx, p) { // or else it goes out when they were heard
		if err := o.offer(tx, peer, &p); err != nil {
			return Allied{}, err
		}
	}
	pairs.Put(tx, peerKey(peer.Circle), p)
	return Allied{InForce: p.Since != 0}, nil
}

// offer sends our consent to the peer.
func (o Options) offer(tx *machine.Tx, peer Peer, p *pair) error {
	wish := p.Wish
	p.Wish = Terms{}
	if wish.LimitMinutes == 0 || p.Since != 0 {
		return nil // nothing is wished, or they agreed to what we had forgotten that we offered
	}
	p.Ours = wish
	kind := letter.Offer
	if p.Theirs.same(p.Ours) {
		kind = letter.Agree
		if err := inForce(tx, peer, p); err != nil {
			return err
		}
	}
	body, err := letter.Marshal(p.Ours)
	if err != nil {
		return machine.Refuse("bad_text", "These terms cannot be sent: %v.", err)
	}
	_, err = o.appendRecord(tx, peer, p, kind, body)
	return err
}

func inForce(tx *machine.Tx, peer Peer, p *pair) error {
	p.Since = tx.Now()
	tx.Emit(machine.Event{
		Kind: "exchange.allied", Audience: []string{machine.AudienceCircle}, Words: peer.Name,
		Subject: coin.CirclePrefix + string(peer.Circle), Minutes: p.Ours.LimitMinutes,
	})
	return coin.SetCircleLimit(tx, string(peer.Circle), peer.Name, p.Ours.LimitMinutes)
}

// narrow settles consents that crossed: each side agreed to what the other had offered before. Both have
// consented to both, so both take the lower limit and the earlier review.
func narrow(tx *machine.Tx, peer Peer, p *pair) error {
	p.Ours.LimitMinutes = min(p.Ours.LimitMinutes, p.Theirs.LimitMinutes)
	p.Ours.ReviewOn = min(p.Ours.ReviewOn, p.Theirs.ReviewOn)
	return coin.SetCircleLimit(tx, string(peer.Circle), peer.Name, p.Ours.LimitMinutes)
}

// gotTerms takes the peer's OFFER or AGREE.
func (o Options) gotTerms(tx *machine.Tx, peer Peer, p *pair, r letter.Record) error {
	var theirs Terms
	if err := letter.Unmarshal(r.Body, 1024, &theirs); err != nil {
		return err
	}
	if theirs.LimitMinutes < 1 || theirs.LimitMinutes > MaxLimitMinutes ||
		!letter.Readable(theirs.ReviewOn, 10) ||
		!letter.Readable(theirs.Decision, 200) {
		return machine.Refuse("bad_terms", "terms out of bounds")
	}
	p.Theirs = theirs
	if p.Since != 0 && r.Kind == letter.Agree && !theirs.same(p.Ours) {
		return narrow(tx, peer, p)
	}
	if p.Since != 0 || !theirs.same(p.Ours) {
		return nil // in force already, or for people to agree on first
	}
	if err := inForce(tx, peer, p); err != nil {
		return err
	}
	if r.Kind == letter.Agree {
		return nil
	}
	body, err := letter.Marshal(p.Ours)
	if err != nil {
		return err
	}
	_, err = o.appendRecord(tx, peer, p, letter.Agree, body)
	return err
}
