package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
)

// kept are the files of a node's directory, each kind once or twice.
func kept(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil && info.Size() > 0 && name != "ballast" {
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// flip changes one bit of a file, at a part of what it holds before the zeros at its end.
func flip(t *testing.T, path string, part float64) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	held := len(bytes.TrimRight(raw, "\x00"))
	if held == 0 {
		held = len(raw)
	}
	raw[int(float64(held-1)*part)] ^= 0x04
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(raw, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func places() []float64 {
	if *soak {
		return []float64{0, 0.1, 0.3, 0.5, 0.7, 0.9, 1}
	}
	return []float64{0.5}
}

// usedNode makes a lone node with tables, a log, snapshots, and rows in memory that a kill has left.
func usedNode(t *testing.T) (*faulty, *earnings) {
	t.Helper()
	f := newFaulty(t, filepath.Join(t.TempDir(), "hb"))
	e := &earnings{}
	f.start(t, "")
	f.node.waitReady(t)
	for range 2 {
		if err := e.earn(t.Context(), f, 5); err != nil {
			t.Fatal(err)
		}
		if err := f.snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.stop(t) // leaves a table
	f.start(t, "")
	f.node.waitReady(t)
	if err := e.earn(t.Context(), f, 5); err != nil {
		t.Fatal(err)
	}
	if err := f.snapshot(t.Context()); err != nil { // writes the rows
		t.Fatal(err)
	}
	if err := e.earn(t.Context(), f, 5); err != nil {
		t.Fatal(err)
	}
	f.end()
	return f, e
}

// TestFlippedBitSoak flips a bit in every file of a lone node. It stops and says so, or goes on with the
// right books.
func TestFlippedBitSoak(t *testing.T) {
	f, e := usedNode(t)
	whole := f.dir + ".whole"
	copyTree(t, f.dir, whole)
	for _, name := range kept(t, whole) {
		for _, part := range places() {
			if err := os.RemoveAll(f.dir); err != nil {
				t.Fatal(err)
			}
			copyTree(t, whole, f.dir)
			flip(t, filepath.Join(f.dir, name), part)
			f.start(t, "")
			if !f.comesUp(t) {
				f.checkSaid(t, exitFailed, exitStopped)
				t.Logf("%s at %.1f: stopped: %s", name, part, lastLine(f.node.said.String()))
			} else {
				f.reauthorise(t)
				e.check(t, f)
				t.Logf("%s at %.1f: goes on", name, part)
			}
			f.end()
			if t.Failed() {
				t.Fatalf("after a bit of %s was flipped at %.1f", name, part)
			}
		}
	}
}

// reauthorise reads the operator's token again: a changed one is as good as another.
func (f *faulty) reauthorise(t *testing.T) {
	t.Helper()
	token, err := node.OperatorToken(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	f.operator = api.NewClient(f.operator.Base(), token)
}

// replaceTree moves one directory to the place of another.
func replaceTree(t *testing.T, dir, from string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), os.Rename(from, dir)); err != nil {
		t.Fatal(err)
	}
}

// copyTree copies a directory with its holes.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy: %v\n%s", err, out)
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// ownFiles are what only this machine has: where they are damaged a replica cannot be itself.
var ownFiles = regexp.MustCompile(`^(config\.json|operator\.token|vault|[a-z]+\.key|[a-z]+\.json)$`)

// TestFlippedBitOfThreeSoak flips a bit in every file of one of three replicas. It heals from the others and
// has the same books; where what is damaged is its own it stops and says so.
func TestFlippedBitOfThreeSoak(t *testing.T) {
	all := threeFaulty(t)
	f, e := all[2], earnings{}
	if err := e.earn(t.Context(), all[0], 5); err != nil {
		t.Fatal(err)
	}
	checkEqual(t, all)
	if err := f.snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.stop(t) // leaves a table
	f.start(t, "")
	f.node.waitReady(t)
	seen := map[string]bool{}
	for _, name := range kept(t, f.dir) {
		kind := regexp.MustCompile(`[0-9][0-9-]*`).ReplaceAllString(name, "N")
		if seen[kind] {
			continue
		}
		seen[kind] = true
		for _, part := range places() {
			flipOneOf(t, all, &e, name, part)
		}
	}
}

// flipOneOf damages one of three replicas, and wants it to come back equal to the others.
func flipOneOf(t *testing.T, all []*faulty, e *earnings, name string, part float64) {
	t.Helper()
	f := all[2]
	if err := f.snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.end()
	path := filepath.Join(f.dir, name)
	if found, err := filepath.Glob(path); err != nil || len(found) == 0 {
		if path = newestLike(t, f.dir, name); path == "" {
			t.Logf("%s: there is none any more", name)
			f.start(t, "")
			f.node.waitReady(t)
			return
		}
	}
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, path, part)
	if err := e.earn(t.Context(), all[0], 2); err != nil {
		t.Fatal(err)
	}
	f.start(t, "")
	up := f.comesUp(t)
	if !up {
		f.checkSaid(t, exitFailed, exitStopped)
		if !ownFiles.MatchString(name) {
			t.Errorf("%s: not healed: %s", name, lastLine(f.node.said.String()))
		}
		t.Logf("%s at %.1f: stopped: %s", name, part, lastLine(f.node.said.String()))
		f.end()
		if err := os.WriteFile(path, was, 0o600); err != nil {
			t.Fatal(err)
		}
		f.start(t, "")
		f.node.waitReady(t)
	}
	f.reauthorise(t)
	checkEqual(t, all)
	e.checkBalance(t, f)
	if up {
		_, err := os.Stat(filepath.Join(f.dir, "damaged"))
		t.Logf("%s at %.1f: equal; begun anew before: %t", name, part, err == nil)
		if err := os.RemoveAll(filepath.Join(f.dir, "damaged")); err != nil {
			t.Fatal(err)
		}
	}
	if t.Failed() {
		t.Fatalf("after a bit of %s was flipped at %.1f:\n%s", name, part, f.node.said.String())
	}
}

// newestLike finds a file whose name differs in its numbers only; empty: there is none.
func newestLike(t *testing.T, dir, name string) string {
	t.Helper()
	pattern := regexp.MustCompile(`[0-9][0-9-]*`).ReplaceAllString(name, "*")
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}
