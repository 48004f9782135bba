package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/node"
)

func config() node.Config {
	return node.Config{
		Name: "Hebden Bridge", Place: "Hebden Bridge", Aim: "care", Founder: "Farida", HTTP: "127.0.0.1:0",
		Origin: "http://localhost:7001", Letters: []string{"/ip4/127.0.0.1/tcp/0"},
	}
}

func makeNode(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := node.Init(dir, config()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, dir string) *node.Node {
	t.Helper()
	n, err := node.Open(t.Context(), dir, node.Options{
		Version: "test",
		Fatal:   func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRestart founds a circle once: a second start finds the same one, and so does a stopped reading.
func TestRestart(t *testing.T) {
	dir := makeNode(t)
	var metas []machine.Meta
	look := func(n *node.Node) {
		t.Helper()
		err := n.Read(func(r machine.Reader) error {
			metas = append(metas, machine.ReadMeta(r))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	look(start(t, dir))
	look(start(t, dir))
	n, err := node.OpenStopped(t.Context(), dir, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	look(n)
	// Founding takes five commands: the vault's key, the founder's, the circle, its policy, its replica.
	if metas[0].Position != 5 || metas[1] != metas[0] || metas[2] != metas[0] {
		t.Errorf("the circle stands at %+v after its starts", metas)
	}
}

// TestCard gives out a newer card when an address changed, and the very same one when nothing did.
func TestCard(t *testing.T) {
	dir := makeNode(t)
	var seqs []uint64
	var texts []string
	for range 2 { // port 0: another address at every start
		n := start(t, dir)
		sealed, err := charter.ParseText(n.CardText())
		if err != nil {
			t.Fatal(err)
		}
		card, err := charter.OpenCard(sealed)
		if err != nil || card.Circle != n.Keys.CircleID() || len(card.Hosts) != 1 {
			t.Fatalf("card %+v: %v", card, err)
		}
		seqs, texts = append(seqs, card.Seq), append(texts, n.CardText())
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if seqs[0] != 1 || seqs[1] != 2 || texts[0] == texts[1] {
		t.Errorf("cards %v", seqs)
	}
}

// TestWhatCannotStart wants a sentence that says what to do.
func TestWhatCannotStart(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		says  string
	}{
		"no circle": {
			func(t *testing.T, dir string) { remove(t, dir, "config.json") },
			"carecircle init",
		},
		"unknown field": {
			func(t *testing.T, dir string) { write(t, dir, "config.json", `{"nmae":"x"}`) },
			"nmae",
		},
		"empty aim": {
			func(t *testing.T, dir string) { write(t, dir, "config.json", `{"name":"x"}`) },
			"fill in",
		},
		"open key": {func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "circle.key"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "chmod 600"},
		"damaged key": {func(t *testing.T, dir string) { write(t, dir, "store.key", "x") }, "restore it"},
		"lost key":    {func(t *testing.T, dir string) { remove(t, dir, "host.key") }, "host.key"},
		"bad letters": {func(t *testing.T, dir string) {
			raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, "config.json", strings.Replace(string(raw), "/ip4/127.0.0.1/tcp/0", "nowhere", 1))
		}, "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := makeNode(t)
			c.spoil(t, dir)
			n, err := node.Open(t.Context(), dir, node.Options{})
			if err == nil {
				t.Error("it started", n.Close())
			} else if !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %q, not %q", err, c.says)
			}
		})
	}
	if err := node.Init(makeNode(t), config()); err == nil || !strings.Contains(err.Error(),
		"already holds") {
		t.Errorf("init twice: %v", err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
