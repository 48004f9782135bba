package clearing_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/letter"
)

func keyOf(n int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, "circle %d", n))
	return ed25519.NewKeyFromSeed(seed[:])
}

func pub(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func idOf(n int) letter.CircleID { return letter.CircleIDOf(pub(keyOf(n))) }

var hubKey = keyOf(-1)

// loopOf is the paper of a round loop of so many circles, and what became of it.
func loopOf(t *testing.T, circles int, cleared bool) (p clearing.Paper, paper, outcome letter.Signed) {
	t.Helper()
	var owed []clearing.Obligation
	for i := range circles {
		owed = append(owed, clearing.Obligation{
			Debtor: string(idOf(i)), Creditor: string(idOf((i + 1) % circles)), Minutes: 1 << 40,
		})
	}
	solved, err := clearing.Solve(owed)
	if err != nil {
		t.Fatal(err)
	}
	p = clearing.Paper{Hub: letter.CircleIDOf(pub(hubKey)), Number: 1 << 60, Until: 1 << 60, Proposal: solved}
	raw, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	paper = letter.Signed{Bytes: raw, Sig: letter.ForRound.Sign(hubKey, raw)}
	o := clearing.Outcome{Hub: p.Hub, Number: p.Number, Paper: clearing.HashOf(raw), Cleared: cleared}
	for i := range circles {
		o.Consents = append(o.Consents, clearing.Consents(keyOf(i), o.Paper))
	}
	slices.SortFunc(o.Consents, func(a, b clearing.Consent) int {
		return bytes.Compare([]byte(a.Circle), []byte(b.Circle))
	})
	return p, paper, signed(t, o)
}

func signed(t *testing.T, o clearing.Outcome) letter.Signed {
	t.Helper()
	raw, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return letter.Signed{Bytes: raw, Sig: letter.ForOutcome.Sign(hubKey, raw)}
}

// judged is what a circle finds of a paper and an outcome.
func judged(paper, outcome letter.Signed) error {
	p, err := clearing.OpenPaper(letter.Purpose.Verify, pub(hubKey), paper)
	if err != nil {
		return err
	}
	o, err := clearing.OpenOutcome(letter.Purpose.Verify, pub(hubKey), outcome)
	if err != nil {
		return err
	}
	return o.Of(letter.Purpose.Verify, paper.Bytes, p)
}

// TestLargestRound: the largest round there may be fits, with its outcome, into one command of a circle.
func TestLargestRound(t *testing.T) {
	const inOneCommand = 319 << 10
	_, paper, outcome := loopOf(t, clearing.MaxRoundObligations, true)
	if err := judged(paper, outcome); err != nil {
		t.Error(err)
	}
	if n, m := len(paper.Bytes), len(outcome.Bytes); n+m > inOneCommand {
		t.Errorf("%d and %d bytes", n, m)
	}
}

// TestOutcome: an outcome counts only with the hub's signature, for its own paper, and when it says that all
// is cleared, with the consent of every circle in it, each by its own key.
func TestOutcome(t *testing.T) {
	_, paper, outcome := loopOf(t, 3, true)
	_, four, _ := loopOf(t, 4, true)
	if err := judged(paper, outcome); err != nil {
		t.Fatal(err)
	}
	if err := judged(four, outcome); err == nil {
		t.Error("it counts for another paper")
	}
	for name, change := range map[string]func(o *clearing.Outcome){
		"one is missing":     func(o *clearing.Outcome) { o.Consents = o.Consents[1:] },
		"one is there twice": func(o *clearing.Outcome) { o.Consents[0] = o.Consents[1] },
		"one is by a stranger": func(o *clearing.Outcome) {
			o.Consents[0] = clearing.Consents(keyOf(9), o.Paper)
		},
		"one is by a stranger in another's name": func(o *clearing.Outcome) {
			c := clearing.Consents(keyOf(9), o.Paper)
			o.Consents[0].Key, o.Consents[0].Sig = c.Key, c.Sig
		},
		"one is to something else": func(o *clearing.Outcome) {
			for i := range 3 {
				if c := clearing.Consents(keyOf(i), clearing.PaperHash{1}); c.Circle == o.Consents[0].Circle {
					o.Consents[0] = c
				}
			}
		},
		"another number": func(o *clearing.Outcome) { o.Number++ },
		"another hub":    func(o *clearing.Outcome) { o.Hub = idOf(0) },
	} {
		o, err := clearing.OpenOutcome(letter.Purpose.Verify, pub(hubKey), outcome)
		if err != nil {
			t.Fatal(err)
		}
		change(&o)
		if judged(paper, signed(t, o)) == nil {
			t.Errorf("counts though %s", name)
		}
	}
	outcome.Sig = letter.ForOutcome.Sign(keyOf(0), outcome.Bytes)
	if judged(paper, outcome) == nil {
		t.Error("counts without the hub's signature")
	}
}

// TestPaper: a paper that the hub did not sign, or whose proposal is not right, is none.
func TestPaper(t *testing.T) {
	p, paper, outcome := loopOf(t, 3, false)
	if err := judged(paper, outcome); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(p *clearing.Paper){
		"more is set off than is owed": func(p *clearing.Paper) { p.Proposal.Changes[0].Minutes++ },
		"a position changes":           func(p *clearing.Paper) { p.Proposal.Changes[0].Minutes-- },
		"nothing is set off":           func(p *clearing.Paper) { p.Proposal.Changes = nil },
	} {
		q := p
		q.Proposal.Changes = slices.Clone(p.Proposal.Changes)
		change(&q)
		raw, err := q.Encode()
		if err != nil {
			t.Fatal(err)
		}
		forged := letter.Signed{Bytes: raw, Sig: letter.ForRound.Sign(hubKey, raw)}
		if _, err := clearing.OpenPaper(letter.Purpose.Verify, pub(hubKey), forged); err == nil {
			t.Errorf("is taken though %s", name)
		}
	}
	paper.Sig = letter.ForRound.Sign(keyOf(0), paper.Bytes)
	if _, err := clearing.OpenPaper(letter.Purpose.Verify, pub(hubKey), paper); err == nil {
		t.Error("is taken without the hub's signature")
	}
}
