package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/backup"
)

// unready is the status of a follower that has lost its leader.
func unready() node.Status {
	return node.Status{
		Circle: "c352hnxhb3prdpxr5benlw56vcq", Name: "Hebden Bridge", Version: "v1",
		Checks: []node.Check{
			{Name: "running", OK: true}, {Name: "leader", Says: "no leader is known"},
		},
		Replica: node.ReplicaStatus{
			ID: "two", State: "Follower", Term: 3, Commit: 1234567, Applied: 1234560, LagEntries: 7,
			Position: 999, SnapshotIndex: 1000, SnapshotAt: time.Now().Add(-26 * time.Hour).UnixMilli(),
		},
		Links: []node.Link{
			{Circle: "cother", Connected: true, Held: 4, Tail: 4},
			{Circle: "cthird", Held: 1, Tail: 4, LastError: "no answer"},
		},
		Backup: &backup.Status{
			LastBackup: &backup.Entry{MadeAt: time.Now().Add(-26 * time.Hour).UTC().Format(time.RFC3339)},
			Failed:     "the disk is full",
		},
		UpSeconds: 3725, ReadyMillis: 1250, MemoryBytes: 54e6, DiskFree: 12e9, DiskSize: 250e9,
	}
}

// TestStatusForPeople wants plain words, all that matters, and exit code 1 of a node that is not ready.
func TestStatusForPeople(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(unready()); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	out, errs, code := tryCall("status", "--node", server.URL)
	want := `
circle    Hebden Bridge (c352hnxhb3prdpxr5benlw56vcq)
ready     no: no leader is known
replica   two: knows no leader, term 3
log       1,234,567 entries committed, 7 behind
journal   999 commands
snapshot  entry 1,000, 1 d 2 h ago
backup    1 d 2 h ago; WRONG: the disk is full
links     1 of 2 connected
memory    54 MB
disk      12 GB free of 250 GB
up        1 h 2 min, ready after 1.2 s
version   v1

CIRCLE  CONNECTED  LETTERS WAITING  LAST ERROR
cother  yes        0                
cthird  no         3                no answer
`
	if code != exitFailed || out != strings.TrimPrefix(want, "\n") {
		t.Errorf("exit code %d, printed:\n%s", code, out)
	}
	if !strings.Contains(errs, "the node is not ready: no leader is known") {
		t.Errorf("it says %q", errs)
	}
	csv, _, code := tryCall("status", "--node", server.URL, "-o", "csv")
	for _, row := range []string{
		"field,value\n", "ready,false\n", "checks.2.says,no leader is known\n", "replica.lagEntries,7\n",
		"links.2.lastError,no answer\n", "diskFreeBytes,12000000000\n",
	} {
		if code != exitFailed || !strings.Contains(csv, row) {
			t.Errorf("exit code %d, no %q in\n%s", code, row, csv)
		}
	}
	whole, _, code := tryCall("status", "--node", server.URL, "-o", "json")
	var s node.Status
	err := json.Unmarshal([]byte(whole), &s)
	if err != nil || code != exitFailed || s.Replica.LagEntries != 7 {
		t.Errorf("exit code %d, %v, printed:\n%s", code, err, whole)
	}
}
