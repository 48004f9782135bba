package node

import (
	"net/http/httptest"
	"regexp"
	"testing"
	"time"
)

// TestProgress takes a state that stands still for stuck only where something waits to be applied.
func TestProgress(t *testing.T) {
	at := time.UnixMilli(1e12)
	var w watched
	for _, step := range []struct {
		name            string
		after           time.Duration
		applied, commit uint64
		stuck           bool
	}{
		{"first look", 0, 5, 5, false},
		{"nothing to do for a day", 24 * time.Hour, 5, 5, false},
		{"an entry comes after another", 24 * time.Hour, 5, 6, false},
		{"it waits", stuckAfter - time.Second, 5, 6, false},
		{"it waits too long", time.Second, 5, 7, true},
		{"it moves, though behind", time.Second, 6, 9, false},
		{"it moves again", stuckAfter, 7, 9, false},
		{"it stands", stuckAfter, 7, 9, true},
		{"it has caught up", time.Second, 9, 9, false},
	} {
		at = at.Add(step.after)
		if err := w.progress(step.applied, step.commit, at); (err != nil) != step.stuck {
			t.Errorf("%s: %v", step.name, err)
		}
	}
}

// TestStorageMetrics counts a flush and a snapshot.
func TestStorageMetrics(t *testing.T) {
	dir := t.TempDir()
	err := Init(dir, Config{
		Name: "N", Place: "P", Aim: "A", Founder: "F", HTTP: "127.0.0.1:0", Origin: "http://localhost:7001",
		Letters: []string{"/ip4/127.0.0.1/tcp/0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.replica.Snapshot(); err != nil { // which flushes first
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	n.watched.metrics.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, metric := range []string{
		"carecircle_state_flush_seconds_count", "carecircle_state_flushed_rows_total",
		"carecircle_snapshot_write_seconds_count", "carecircle_snapshot_index",
		"carecircle_snapshot_size_bytes", "carecircle_snapshot_timestamp_seconds",
	} {
		if !regexp.MustCompile(`(?m)^` + metric + ` [1-9]`).MatchString(answer.Body.String()) {
			t.Errorf("%s is not there, or zero, in\n%s", metric, answer.Body.String())
		}
	}
}
