package joining

import (
	"crypto/ed25519"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// JoinFor is what to ask of the hub, with this circle's card; false where nothing is.
func JoinFor(r machine.Reader, card []byte) (courier.Join, bool) {
	a, ok := asks.Get(r, only)
	us, _ := member.TheCircle(r)
	return courier.Join{
		From: letter.CircleID(us.ID), To: a.Hub, Secret: a.Secret, Card: card,
	}, ok && len(a.Secret) > 0
}

// AskFor is the question for a newer charter, to the hub or another circle; false where there is no hub. The
// number is that of this circle's own card.
func AskFor(r machine.Reader, to letter.CircleID, card []byte, number uint64) (courier.CharterAsk, bool) {
	_, named := exchange.Hub(r)
	us, _ := member.TheCircle(r)
	seen, _ := through.Get(r, only)
	ask := courier.CharterAsk{From: letter.CircleID(us.ID), To: to, Cards: seen}
	if c, ok := held(r); ok {
		ask.Seq = c.Seq
		if e, in := c.Entry(ask.From); in && e.Card < number {
			ask.Card = card
		}
	}
	return ask, named && !hub.Opened(r)
}

// OwnDue tells whether the hub's charter has an older card of the hub than the one with this number.
func OwnDue(r machine.Reader, number uint64) bool {
	us, _ := member.TheCircle(r)
	e, _ := entries.Get(r, machine.Key{}.Str(us.ID))
	return hub.Opened(r) && e.Card < number
}

// Reply is what this circle has of the charter and the asker has not. The key is this circle's; only a hub
// signs with it.
func Reply(r machine.Reader, key ed25519.PrivateKey, ask courier.CharterAsk) (courier.CharterNews, error) {
	c, ok := held(r)
	if !ok {
		return courier.CharterNews{}, nil
	}
	var news courier.CharterNews
	var err error
	if c.Seq > ask.Seq {
		if news.Charter, ok = charters.Get(r, only); !ok {
			news.Charter, err = c.Sign(key)
		}
	}
	size := 0
	for _, e := range byChange(c, ask.Cards) {
		card := cardOf(r, e.Circle)
		size += len(card)
		if len(news.Cards) == courier.MaxCircleCards || size > courier.MaxCircleCardsBytes {
			return news, err
		}
		if news.Through = e.Changed; len(card) > 0 && e.Circle != ask.From {
			news.Cards = append(news.Cards, card)
		}
	}
	news.Through = c.Seq
	return news, err
}

// cardOf is a circle's card as this one has it; empty where it has none.
func cardOf(r machine.Reader, id letter.CircleID) []byte {
	if us, _ := member.TheCircle(r); us.ID == string(id) {
		card, _ := ownCards.Get(r, only)
		return card
	}
	return exchange.CardOf(r, id)
}
