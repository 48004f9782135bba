package clearing_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carecircle/carecircle/federation/clearing"
)

// drawn is a few obligations between a few circles, often in loops, some of them said twice.
var drawn = rapid.Custom(func(t *rapid.T) []clearing.Obligation {
	circles := rapid.IntRange(2, 7).Draw(t, "circles")
	name := func(what string) string {
		return fmt.Sprintf("c%d", rapid.IntRange(1, circles).Draw(t, what))
	}
	var all []clearing.Obligation
	for range rapid.IntRange(0, 20).Draw(t, "obligations") {
		o := clearing.Obligation{
			Debtor: name("debtor"), Creditor: name("creditor"),
			Minutes: rapid.Int64Range(1, 12).Draw(t, "minutes"),
		}
		if o.Debtor != o.Creditor {
			all = append(all, o)
		}
	}
	return all
})

// positions are what every circle is owed less what it owes.
func positions(obligations, changes []clearing.Obligation) map[string]int64 {
	sum := map[string]int64{}
	for _, o := range obligations {
		sum[o.Debtor] -= o.Minutes
		sum[o.Creditor] += o.Minutes
	}
	for _, c := range changes {
		sum[c.Debtor] += c.Minutes
		sum[c.Creditor] -= c.Minutes
	}
	return sum
}

func TestSolve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawn.Draw(t, "obligations")
		p, err := clearing.Solve(all)
		if err != nil {
			t.Fatal(err)
		}
		if err := clearing.Check(p); err != nil {
			t.Fatalf("%v\n%+v", err, p)
		}
		if !reflect.DeepEqual(positions(all, nil), positions(all, p.Changes)) {
			t.Fatalf("a circle's position changed: %+v", p)
		}
		shuffled := slices.Clone(all)
		seed := rapid.Uint64().Draw(t, "shuffle")
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(shuffled), func(i, j int) {
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		})
		again, err := clearing.Solve(shuffled)
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("in another order: %+v, %v", again, err)
		}
	})
}

// TestTampered changes a right proposal in every way that does not make it another right one.
func TestTampered(t *testing.T) {
	good := func() clearing.Proposal {
		p, err := clearing.Solve([]clearing.Obligation{
			{"a", "b", 5},
			{"b", "c", 4},
			{"c", "a", 3},
			{"c", "d", 6},
			{"d", "a", 2},
			{"d", "e", 9},
		})
		if err != nil || clearing.Check(p) != nil || p.GrossBefore != 29 || p.GrossAfter != 15 {
			t.Fatalf("%+v, %v", p, err)
		}
		return p
	}
	for name, change := range map[string]func(p *clearing.Proposal){
		"more":            func(p *clearing.Proposal) { p.Changes[0].Minutes++ },
		"less":            func(p *clearing.Proposal) { p.Changes[0].Minutes-- },
		"nothing":         func(p *clearing.Proposal) { p.Changes = nil },
		"nothing at all":  func(p *clearing.Proposal) { p.Changes, p.GrossAfter = nil, p.GrossBefore },
		"negative":        func(p *clearing.Proposal) { p.Changes[0].Minutes = -1 },
		"one missing":     func(p *clearing.Proposal) { p.Changes = p.Changes[1:] },
		"twice":           func(p *clearing.Proposal) { p.Changes = append(p.Changes, p.Changes[0]) },
		"out of order":    func(p *clearing.Proposal) { slices.Reverse(p.Changes) },
		"of nothing":      func(p *clearing.Proposal) { p.Changes[0].Creditor = "e" },
		"other before":    func(p *clearing.Proposal) { p.GrossBefore++ },
		"other after":     func(p *clearing.Proposal) { p.GrossAfter-- },
		"other books":     func(p *clearing.Proposal) { p.Obligations[0].Minutes++ },
		"books twice":     func(p *clearing.Proposal) { p.Obligations[1] = p.Obligations[0] },
		"books of nobody": func(p *clearing.Proposal) { p.Obligations[0].Debtor = "" },
		"no labels":       func(p *clearing.Proposal) { p.Labels = nil },
		"a label":         func(p *clearing.Proposal) { p.Labels[2].Label += 5 },
		"a wild label":    func(p *clearing.Proposal) { p.Labels[4].Label = 1 << 62 },
		"labels reversed": func(p *clearing.Proposal) { slices.Reverse(p.Labels) },
	} {
		p := good()
		change(&p)
		if err := clearing.Check(p); err == nil {
			t.Errorf("%s: nothing is said of it: %+v", name, p)
		}
	}
	// Less than could be, honestly added up: only the labels show it.
	p := good()
	for i := range p.Changes {
		if strings.Contains("abca", p.Changes[i].Debtor+p.Changes[i].Creditor) {
			p.Changes[i].Minutes--
			p.GrossAfter++
		}
	}
	if err := clearing.Check(p); err == nil || !strings.Contains(err.Error(), "more could be set off") {
		t.Errorf("too little: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	for words, all := range map[string][]clearing.Obligation{
		"obligation 2: a owes itself":          {{"a", "b", 1}, {"a", "a", 1}},
		"obligation 1: who owes or is owed":    {{"", "b", 1}},
		"want more than 0":                     {{"a", "b", 0}},
		"a owes b -1 minutes":                  {{"a", "b", -1}},
		"obligation 2: all together come to":   {{"a", "b", clearing.MaxMinutes}, {"b", "a", 1}},
		"obligation 1: a name of more than 12": {{strings.Repeat("a", 129), "b", 1}},
	} {
		_, err := clearing.Solve(all)
		if !errors.Is(err, clearing.ErrObligation) || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	p, err := clearing.Solve(nil)
	if err != nil || clearing.Check(p) != nil {
		t.Errorf("nothing owed: %+v, %v", p, err)
	}
}
