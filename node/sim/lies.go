package sim

import (
	"slices"

	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// In some runs one circle is a liar: what it says is signed with its own key, and not what is in its books.
// Those it deals with may stop exchange with it, and what is between them and it may never come to rest. All
// that the others have among themselves must be right, and so must everyone's books.

const lieChance = 250 // in a thousand, of what could be a lie

// liesAbout tells whether there is a liar in this run. Nobody moves in it, and nothing is set off.
func (s *sim) liesAbout() bool { return s.opt.Seed%24 == 23 && s.opt.Mutate == "" }

// honest tells whether none of these circles is the liar.
func (s *sim) honest(all ...letter.CircleID) bool {
	return s.liar == nil || !slices.Contains(all, s.liar.id)
}

func (s *sim) lying(t *town) bool {
	return t == s.liar && s.now >= s.begin && s.dice.chance(lieChance)
}

func (s *sim) lied(what string) { s.res.Seen["lie "+what]++ }

// lieInBatch changes what the liar sends: in the first way, from a drawn one on, that fits what it says.
func (s *sim) lieInBatch(to letter.CircleID, b courier.Batch) courier.Batch {
	const ways = 6
	first := s.dice.below(ways)
	for i := range ways {
		if other, told := s.lieAs((first+i)%ways, to, b); told {
			return other
		}
	}
	return b
}

func (s *sim) lieAs(way int, to letter.CircleID, b courier.Batch) (other courier.Batch, told bool) {
	switch way {
	case 0: // two letters for one place, both sent
		if other, told = s.resign(s.liar, b, letter.Propose); told {
			s.lied("two letters for one place")
			s.inject(s.liar, to, other)
		}
		return b, told
	case 1:
		other, told = s.resign(s.liar, b, letter.Propose)
	case 2:
		other, told = s.resign(s.liar, b, letter.Reject)
	case 3:
		other, told = s.resign(s.liar, b, letter.Accept)
	case 4: // the beginning is left out
		if told = len(b.Records) > 1; told {
			other = b
			other.Records = b.Records[1:]
		}
	default:
		other, told = s.misaddressed(b)
	}
	if told {
		s.lied("in a letter")
	}
	return other, told
}

// misaddressed has the last letter of a batch go to whoever comes by.
func (s *sim) misaddressed(b courier.Batch) (courier.Batch, bool) {
	last := len(b.Records) - 1
	l, err := letter.Decode(b.Records[last].Bytes)
	if err != nil {
		return b, false
	}
	l.To = pick(&s.dice, s.towns).id
	raw, err := l.Encode()
	if err != nil {
		return b, false
	}
	b.Records = append(slices.Clone(b.Records[:last]), s.sign(s.liar, raw))
	return b, true
}

// lieInAnswer changes what the liar answers.
func (s *sim) lieInAnswer(msg any) any {
	switch m := msg.(type) {
	case courier.Welcome:
		s.lied("in a welcome")
		switch s.dice.below(3) {
		case 0:
			m.Held.Seq++
		case 1:
			m.Held = letter.Position{}
		default:
			m.Tail += 7
		}
		signed, err := courier.SignWelcome(s.liar.key, m)
		if err != nil {
			s.fail("setup", "%v", err)
			return msg
		}
		return signed
	case courier.Ack:
		s.lied("in an answer")
		m.Held.Seq += 3
		return m
	case courier.Recalled:
		s.lied("in letters given back")
		return courier.Recalled{}
	}
	return msg
}
