package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carecircle/carecircle/node"
)

// pretender is a node that hangs when it is told to.
type pretender struct {
	mu  sync.Mutex
	err error
}

func (p *pretender) Alive() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *pretender) hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = errors.New("it hangs")
}

func (p *pretender) Status() node.Status {
	return node.Status{Ready: true, Replica: node.ReplicaStatus{State: "Leader", Applied: 7}}
}

// TestWatchdog tells systemd that the node lives while it gets on, and not once more when it does not.
func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		s := service{
			watchdog: 60 * time.Second, log: slog.New(slog.DiscardHandler),
			notify: func(state string) error {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, state)
				return nil
			},
		}
		fed := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(slices.DeleteFunc(slices.Clone(told), func(s string) bool {
				return !strings.Contains(s, "WATCHDOG=1")
			}))
		}
		n := &pretender{}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.attend(ctx, n) }()
		time.Sleep(59 * time.Second)
		if fed() != 6 {
			t.Errorf("told %d times that it lives in a minute, want each 10 s", fed())
		}
		n.hang()
		before := fed()
		time.Sleep(5 * time.Minute)
		if fed() != before {
			t.Error("told that it lives while it hung")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		last := told[len(told)-1]
		if told[0] != "READY=1" || !strings.HasPrefix(last, "STOPPING=1") {
			t.Errorf("told %q first, %q last", told[0], last)
		}
		if !slices.Contains(told, "WATCHDOG=1\nSTATUS=ready; leads its circle; log entry 7") {
			t.Errorf("told %q", told)
		}
	})
}

// TestSystemd runs the program as systemd would: it hears that the node is ready, lives, and stops.
func TestSystemd(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "300000")
	if err := os.Unsetenv("WATCHDOG_PID"); err != nil {
		t.Fatal(err)
	}
	base := initNode(t, filepath.Join(dir, "n"), "Notified")
	p := startServe(t, filepath.Join(dir, "n"))
	defer p.kill()
	hear := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			if err := c.SetReadDeadline(time.Now().Add(waitLong)); err != nil {
				t.Fatal(err)
			}
			n, err := c.Read(buf)
			if err != nil {
				t.Fatalf("systemd never heard %q: %v\n%s", want, err, p.said.String())
			}
			if strings.Contains(string(buf[:n]), want) {
				return
			}
		}
	}
	hear("READY=1")
	res, err := http.Get(base + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("systemd was told that it is ready; /readyz answers %s", res.Status)
	}
	hear("WATCHDOG=1")
	hear("WATCHDOG=1")
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	hear("STOPPING=1")
	p.stop(t)
}
