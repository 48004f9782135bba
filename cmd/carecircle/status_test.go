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
			Position: 999, Rules: 1, NewestRules: 2, SnapshotIndex: 1000,
			SnapshotAt: time.Now().Add(-26 * time.Hour).UnixMilli(),
		},
		Replicas: []node.Standing{
			{
				ID: "one", Status: "voting", Alive: true, State: "Follower", Applied: 1234567, Version: "v1",
				Rules: 1,
			},
			{
				ID: "two", Status: "voting", Applied: 1234000, LagEntries: 567, State: "Leader",
				Version: "v2", Rules: 2,
			},
			{ID: "r3", Status: "joining"},
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
		DiskMargin: 134e6, DiskBallast: 67e6,
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
rules     version 1 in force, this program knows up to 2
snapshot  entry 1,000, 1 d 2 h ago
scrub     none yet
backup    1 d 2 h ago; WRONG: the disk is full
keys      in plain: carecircle keys seal
links     1 of 2 connected
memory    54 MB
disk      12 GB free of 250 GB, 134 MB must stay free, 67 MB in the ballast
up        1 h 2 min, ready after 1.2 s
version   v1

REPLICA  STATUS   ANSWERS  STATE     APPLIED    BEHIND   RULES UP TO  VERSION
one      voting   yes      follower  1,234,567  0        1            v1
two      voting   no       leader    1,234,000  567      2            v2
r3       joining  no       unknown   unknown    unknown  unknown      unknown

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
		"replicas.2.lagEntries,567\n",
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
