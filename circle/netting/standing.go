package netting

import (
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/letter"
)

// Put is what a round has put aside of an account.
type Put struct {
	From, To string // accounts
	Minutes  int64
}

// Aside is what is put aside for the round that has no outcome yet.
func Aside(r machine.Reader) []Put {
	var out []Put
	if now, ok := Current(r); ok {
		x, _ := rounds.Get(r, roundKey(now.Number))
		for _, l := range x.Aside {
			out = append(out, Put{l.From, l.To, l.Minutes})
		}
	}
	return out
}

// Over is the outcome of a round.
type Over struct {
	Number  uint64
	Hash    clearing.PaperHash
	Cleared bool
	Circles []letter.CircleID // in it
}

// Outcomes are those that a circle knows, oldest first.
func Outcomes(r machine.Reader) []Over {
	var out []Over
	for _, x := range rounds.All(r, nil, nil) {
		if !x.Stage.over() {
			continue
		}
		p, err := clearing.DecodePaper(x.Paper.Bytes)
		if err != nil {
			panic("netting: a kept paper cannot be read: " + err.Error())
		}
		out = append(out, Over{x.Number, x.Hash, x.Stage == StageCleared, p.Circles()})
	}
	return out
}

// Unsettled is how many rounds have no outcome yet at their hub.
func Unsettled(r machine.Reader) int { return len(openCalls(r)) }
