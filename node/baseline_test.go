package node_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/store"
)

// TestBaseline has a node run on what the bench compares with, and its own stores left alone.
func TestBaseline(t *testing.T) {
	for _, baseline := range []string{"", node.BaselineBolt, node.BaselineMemory} {
		dir := makeNode(t)
		n, err := node.Open(t.Context(), dir, node.Options{
			Baseline: baseline, Fatal: func(err error) { t.Error(err) },
		})
		if err != nil {
			t.Fatalf("baseline %q: %v", baseline, err)
		}
		if err := n.Close(); err != nil {
			t.Fatalf("baseline %q: %v", baseline, err)
		}
		log, err := store.OpenLog(store.LogConfig{
			Dir: filepath.Join(dir, "log"), EncryptionKey: n.Keys.Store[:],
		})
		if err != nil {
			t.Fatal(err)
		}
		last, err := log.LastIndex()
		if err := errors.Join(err, log.Close()); err != nil {
			t.Fatal(err)
		}
		if empty := last == 0; empty != (baseline == node.BaselineBolt) {
			t.Errorf("baseline %q: its own log is empty: %t", baseline, empty)
		}
		state, err := store.OpenState(store.StateConfig{
			Dir: filepath.Join(dir, "state"), EncryptionKey: n.Keys.Store[:],
		})
		if err != nil {
			t.Fatal(err)
		}
		if empty := state.Applied() == 0; empty != (baseline == node.BaselineMemory) {
			t.Errorf("baseline %q: its state on disk is empty: %t", baseline, empty)
		}
		if err := state.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := node.Open(t.Context(), makeNode(t), node.Options{Baseline: "none"})
	if err == nil || !strings.Contains(err.Error(), "bbolt and memory are") {
		t.Errorf("a baseline that there is not: %v", err)
	}
}
