package netting

import (
	"crypto/ed25519"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// AskFor is what the circle asks its hub; false where it has none.
func AskFor(r machine.Reader) (courier.RoundAsk, bool) {
	us, _ := member.TheCircle(r)
	now, _ := Current(r)
	to, ok := hubOf(r)
	return courier.RoundAsk{
		From: letter.CircleID(us.ID), To: to, Current: now.Number,
		Known: newest(r, cleared, machine.Key{}.Str(string(to))),
	}, ok && string(to) != us.ID
}

// Reply is the hub's, signed.
func Reply(r machine.Reader, key ed25519.PrivateKey, m courier.RoundAsk) courier.RoundNews {
	n := newsFor(r, string(m.From), m.Known, m.Current)
	out := courier.RoundNews{Number: n.Number, Stage: uint8(n.Stage), Wanted: n.Wanted}
	if len(n.Paper) > 0 {
		out.Paper = letter.Signed{Bytes: n.Paper, Sig: letter.ForRound.Sign(key, n.Paper)}
	}
	if len(n.Outcome) > 0 {
		out.Outcome = letter.Signed{Bytes: n.Outcome, Sig: letter.ForOutcome.Sign(key, n.Outcome)}
	}
	return out
}

// CommandFor is what to do, in the hub's name, on what it told; empty where nothing is new in it.
func CommandFor(r machine.Reader, m courier.RoundNews) (kind string, body any) {
	x, known := rounds.Get(r, roundKey(m.Number))
	_, busy := Current(r)
	switch stage := Stage(m.Stage); {
	case stage == StageProposed && !known && !busy:
		return "netting.proposed", Proposed{Paper: m.Paper}
	case stage == StageCleared && x.Stage != stage, stage == StageDropped && x.Stage != stage:
		return "netting.decided", Decided{Paper: m.Paper, Outcome: m.Outcome}
	}
	return "", nil
}

// SayTo is what the circle with this key has to say to what the hub told, if anything.
func SayTo(r machine.Reader, key ed25519.PrivateKey, m courier.RoundNews) (courier.RoundSay, bool) {
	ask, _ := AskFor(r)
	say := courier.RoundSay{From: ask.From, To: ask.To, Number: m.Number}
	x, _ := rounds.Get(r, roundKey(m.Number))
	switch Stage(m.Stage) {
	case StageGathering:
		say.Stated = true
		for _, p := range Positions(r) {
			say.Positions = append(say.Positions, courier.RoundPosition{
				Circle: letter.CircleID(p.Circle), Minutes: p.Minutes,
			})
		}
		return say, true
	case StageUnknown:
		say.Paper = x.Paper
	case StageProposed:
	default:
		return say, false
	}
	switch x.Stage {
	case StageAgreed:
		say.Consent = clearing.Consents(key, x.Hash)
	case StageDeclined:
		say.No = true
	case StageCleared, StageDropped:
		say.Paper, say.Outcome = x.Paper, x.Outcome
	default: // its people have not decided
		return say, m.Wanted
	}
	return say, true
}

// Heard is what a hub does with what a circle says.
func Heard(m courier.RoundSay) Say {
	body := Say{
		Number: m.Number, Stated: m.Stated, No: m.No, Consent: m.Consent, Paper: m.Paper, Outcome: m.Outcome,
	}
	for _, p := range m.Positions {
		body.Positions = append(body.Positions, Position{Circle: string(p.Circle), Minutes: p.Minutes})
	}
	return body
}
