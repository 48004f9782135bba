package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node"
)

// smallDisk mounts a disk in memory with so many MiB.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Fatalf("mount a small disk, as root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// leave has a file take all of a disk's room but so many MiB.
func leave(t *testing.T, disk string, mib int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(disk, "other"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // nothing is written to it
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(disk, &s); err != nil {
			t.Fatal(err)
		}
		more := int64(s.Bavail)*s.Bsize - mib<<20
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case more > 0:
			err = syscall.Fallocate(int(f.Fd()), 0, info.Size(), more)
		case more < 0:
			err = f.Truncate(max(0, info.Size()+more))
		}
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.ENOSPC) { // the node has taken some meanwhile
			t.Fatal(err)
		}
	}
}

func refusedAs(err error) string {
	var refusal *machine.Error
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return fmt.Sprint(err)
}

func (f *faulty) earnsAre(t *testing.T, e *earnings, want string) {
	t.Helper()
	one := &earned{}
	if len(e.all) > 0 && e.all[len(e.all)-1].position == 0 {
		one = e.all[len(e.all)-1]
	}
	waitUntil(t, "earning at "+f.id+" gives "+want, func() (bool, error) {
		var err error
		if one.id == "" {
			err = e.earn(t.Context(), f, 1)
			one = e.all[len(e.all)-1]
		} else {
			_, err = e.again(t.Context(), f, one)
		}
		if err == nil {
			one = &earned{}
			return want == "done", nil
		}
		select {
		case <-f.node.ended:
			t.Fatalf("%s has ended:\n%.3000s", f.id, f.node.said.String())
		default:
		}
		return refusedAs(err) == want, err
	})
}

func (f *faulty) status(t *testing.T) node.Status {
	t.Helper()
	var s node.Status
	if err := f.operator.Call(t.Context(), http.MethodGet, "/api/v1/status", nil, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDiskFills has the disk of a lone node fill up. It refuses to write, then stops, and says so; with the
// ballast's room, or other room, it goes on. Nothing acknowledged is lost.
func TestDiskFills(t *testing.T) {
	disk := smallDisk(t, 500)
	f := newFaulty(t, filepath.Join(disk, "hb"))
	var e earnings
	f.start(t, "")
	f.node.waitReady(t)
	if err := e.earn(t.Context(), f, 10); err != nil {
		t.Fatal(err)
	}
	leave(t, disk, 110)
	f.earnsAre(t, &e, "disk_low")
	if s := f.status(t); s.Ready || !s.DiskLow || s.DiskBallast != 64<<20 || s.DiskMargin != 128<<20 {
		t.Errorf("its status is %+v", s)
	}
	if out, errs, code := tryCall("status", "--data", f.dir); code != exitFailed ||
		!strings.Contains(errs, "nearly full") || !strings.Contains(out, "in the ballast") {
		t.Errorf("status: exit code %d\n%s%s", code, out, errs)
	}
	f.overview(t) // reading goes on
	if out := call(t, "space", "release", "--data", f.dir); !strings.Contains(out, "67 MB") {
		t.Errorf("space release says %s", out)
	}
	f.earnsAre(t, &e, "done")
	leave(t, disk, 40)
	f.waitEnd(t)
	f.checkSaid(t, exitStopped)
	if said := f.node.said.String(); !strings.Contains(said, "free some space") {
		t.Errorf("it said %s", said)
	}
	for _, mib := range []int64{40, 0} {
		leave(t, disk, mib)
		f.start(t, "")
		f.waitEnd(t)
		f.checkSaid(t, exitStopped)
	}
	leave(t, disk, 110)
	f.start(t, "")
	f.node.waitReady(t)
	f.earnsAre(t, &e, "disk_low")
	leave(t, disk, 300)
	f.earnsAre(t, &e, "done")
	e.check(t, f)
	waitUntil(t, "the ballast is there again", func() (bool, error) {
		return f.status(t).DiskBallast == 64<<20, nil
	})
	fillAtOnce(t, disk, f, &e)
	leave(t, disk, 300)
	f.start(t, "")
	f.node.waitReady(t)
	e.check(t, f)
	f.checkLog(t)
}

// fillAtOnce leaves the node no time to see its disk fill, and has it write until it ends.
func fillAtOnce(t *testing.T, disk string, f *faulty, e *earnings) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLong)
	defer cancel()
	leave(t, disk, 0)
	for e.earn(ctx, f, 1) == nil {
	}
	f.waitEnd(t)
	t.Logf("on a disk that fills at once it ended with exit code %d: %.300s",
		f.node.cmd.ProcessState.ExitCode(), f.node.said.String())
}

// TestDiskOfOneOfThreeFills has the disk of the leading one of three replicas fill up. Another leads, the two
// go on without it, and it comes back when it has room.
func TestDiskOfOneOfThreeFills(t *testing.T) {
	disk := smallDisk(t, 500)
	all := threeFaultyIn(t, func(id string) string {
		if id == "one" {
			return disk
		}
		return t.TempDir()
	})
	f, other := all[0], all[1]
	var e earnings
	if err := e.earn(t.Context(), other, 5); err != nil {
		t.Fatal(err)
	}
	if s := f.status(t); s.Replica.Leader != "one" {
		t.Logf("%s leads", s.Replica.Leader)
	}
	leave(t, disk, 110)
	waitUntil(t, "another leads", func() (bool, error) {
		leader := f.status(t).Replica.Leader
		return leader == "r2" || leader == "r3", nil
	})
	other.earnsAre(t, &e, "done")
	f.earnsAre(t, &e, "disk_low")
	other.earnsAre(t, &e, "done")
	leave(t, disk, 40)
	f.waitEnd(t)
	f.checkSaid(t, exitStopped)
	for range 5 {
		other.earnsAre(t, &e, "done")
	}
	leave(t, disk, 300)
	f.start(t, "")
	f.node.waitReady(t)
	e.check(t, f)
	checkEqual(t, all)
}
