package main

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// closing is how the coin story ends: what the README says.
var closing = map[string]map[string]int64{
	"co-op": {"issuance": 0, "pool": 0},
	"Hebden Bridge": {
		"issuance": -1080, "pool": 0, "place Repair cafe": 60, "account of Blackshaw Head": -60,
		"Wendy": 300, "Yvonne": 120, "Norah": 480, "Alice": 60, "Dev": 60, "Stanley": 60,
	},
	"Blackshaw Head": {
		"issuance": -600, "pool": 0, "Kitty": 480, "Irene": 60,
		"account of Hebden Bridge": 60,
	},
}

func playDemo(t *testing.T, dir string) demoResult {
	t.Helper()
	var out demoResult
	if err := json.Unmarshal([]byte(call(t, "demo", "--once", "-o", "json", "--data", dir)),
		&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDemoStory(t *testing.T) {
	dir := t.TempDir()
	result := playDemo(t, dir)
	checkClosing(t, result)
	checkCases(t, result.Cases)
	nodes := []string{filepath.Join(dir, "hebden-bridge"), filepath.Join(dir, "blackshaw-head")}
	books := map[string]string{}
	for _, n := range nodes {
		books[n] = call(t, "export", "--data", n, "--format", "csv")
	}
	t.Run("again", func(t *testing.T) {
		checkClosing(t, playDemo(t, dir))
		for _, n := range nodes {
			if got := call(t, "export", "--data", n, "--format", "csv"); got != books[n] {
				t.Errorf("playing again changed the book of %s:\n%s\nwas\n%s", n, got, books[n])
			}
		}
	})
	for _, n := range nodes {
		t.Run(filepath.Base(n), func(t *testing.T) {
			balances := balancesOf(t, n)
			checkHledger(t, n, balances)
			checkBeancount(t, n, balances)
			checkCSV(t, books[n], balances)
		})
	}
	t.Run("verify", func(t *testing.T) { checkVerify(t, nodes) })
}

func checkClosing(t *testing.T, result demoResult) {
	t.Helper()
	if len(result.Circles) != len(closing) {
		t.Errorf("%d circles, want %d", len(result.Circles), len(closing))
	}
	for _, c := range result.Circles {
		got := map[string]int64{}
		var sum int64
		for _, a := range c.Accounts {
			got[a.Account] += a.Minutes
			sum += a.Minutes
		}
		if want := closing[c.Name]; !maps.Equal(got, want) {
			t.Errorf("%s closes with\n%v, want\n%v", c.Name, got, want)
		}
		if len(got) != len(c.Accounts) || sum != 0 || c.SumMinutes != 0 {
			t.Errorf("%s: %d accounts, sum %d, says %d", c.Name, len(c.Accounts), sum, c.SumMinutes)
		}
		var want []demoAlliance
		switch c.Name {
		case "Hebden Bridge":
			want = []demoAlliance{{"Blackshaw Head", -60, 2400}}
		case "Blackshaw Head":
			want = []demoAlliance{{"Hebden Bridge", 60, 2400}}
		}
		if !slices.Equal(c.Alliances, want) {
			t.Errorf("%s has alliances %v, want %v", c.Name, c.Alliances, want)
		}
	}
}

func checkCases(t *testing.T, cases []demoCase) {
	t.Helper()
	if len(cases) != 3 {
		t.Fatalf("%d cases, want 3: %+v", len(cases), cases)
	}
	refused, waited, twice := cases[0], cases[1], cases[2]
	if refused.Outcome != "refused" || refused.Code != "floor_passed" ||
		refused.Says != "Alice has 1 coin. Giving 8 coins would leave -7 coins, below the floor of -5"+
			" coins." {
		t.Errorf("%+v", refused)
	}
	if waited.Outcome != "proposed, then settled" {
		t.Errorf("%+v", waited)
	}
	if twice.Code != waited.Code || twice.Outcome != "one effect" ||
		!strings.Contains(twice.Says, "the second is a repeat: true") {
		t.Errorf("%+v", twice)
	}
}
