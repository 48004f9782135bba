package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// runSwitch makes this test binary the program itself: see startServe.
const runSwitch = "CARECIRCLE_TEST_RUN"

// waitLong bounds every wait of these tests.
const waitLong = 90 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(runSwitch) != "" {
		// The test holds the other end of standard input: no node outlives the test that started it.
		go func() {
			io.Copy(io.Discard, os.Stdin) //nolint:errcheck // its end is all that counts
			os.Exit(9)
		}()
		os.Exit(run(os.Args[1:], strings.NewReader(""), os.Stdout, os.Stderr))
	}
	testscript.Main(m, map[string]func(){"carecircle": main})
}

// process is a "carecircle serve" of its own.
type process struct {
	cmd        *exec.Cmd
	readyAfter time.Duration // set before ready is closed
	ready      chan struct{} // closed when it has said where it is
	ended      chan struct{} // closed when it is gone
	stdin      io.Closer
	said       said
}

// said is what a process wrote.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// startServe starts the node in a directory as a process, by another program where that is named. The test
// must end it; it ends with the test anyway.
func startServe(tb testing.TB, dir string, by ...string) *process {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	p, err := spawn(self, dir, by...)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// spawn starts the program, or this test binary in its place, by another one where that is named.
func spawn(program, dir string, by ...string) (_ *process, err error) {
	p := &process{ready: make(chan struct{}), ended: make(chan struct{})}
	line := append(slices.Clone(by), program, "serve", "--data", dir, "--log-level", "error")
	p.cmd = exec.Command(line[0], line[1:]...)
	p.cmd.Env = append(os.Environ(), runSwitch+"=1")
	p.cmd.Stderr = &p.said
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	started := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		first := true
		for lines := bufio.NewScanner(out); lines.Scan(); first = false {
			fmt.Fprintln(&p.said, lines.Text()) //nolint:errcheck // it cannot fail
			if first && strings.Contains(lines.Text(), " is at http") {
				p.readyAfter = time.Since(started)
				close(p.ready)
			}
		}
		p.cmd.Wait() //nolint:errcheck // it was killed, mostly
		close(p.ended)
	}()
	return p, nil
}

// waitReady returns once the node has said where it is.
func (p *process) waitReady(tb testing.TB) {
	tb.Helper()
	select {
	case <-p.ready:
	case <-p.ended:
		tb.Fatalf("the node ended before it was ready:\n%s", p.said.String())
	case <-time.After(waitLong):
		tb.Fatalf("the node did not become ready:\n%s", p.said.String())
	}
}

// kill ends the process as a power cut would: kill -9.
func (p *process) kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may be gone already
	<-p.ended
	p.stdin.Close() //nolint:errcheck // it is gone
}

// stop ends the process as an operator would.
func (p *process) stop(tb testing.TB) {
	tb.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		tb.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(waitLong):
		tb.Fatalf("the node did not stop:\n%s", p.said.String())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		tb.Fatalf("the node stopped with exit code %d:\n%s", code, p.said.String())
	}
}

// fixedPort returns a free loopback port outside the range from which the system serves itself: it stays free
// while its node is dead, and no caller of a dead node can be given it as its own.
func fixedPort() (string, error) {
	for range 1000 {
		port := strconv.Itoa(15000 + rand.IntN(15000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close() //nolint:errcheck // nothing was sent
			return port, nil
		}
	}
	return "", errors.New("there is no free port")
}

// initNode makes a node's directory with fixed ports and returns the address of its pages.
func initNode(tb testing.TB, dir, name string) (base string) {
	tb.Helper()
	http, err := fixedPort()
	letters, err2 := fixedPort()
	if err := errors.Join(err, err2); err != nil {
		tb.Fatal(err)
	}
	initNodeAt(tb, dir, name, "127.0.0.1", http, letters)
	return "http://127.0.0.1:" + http
}

func initNodeAt(tb testing.TB, dir, name, address, http, letters string) {
	tb.Helper()
	call(tb, "init", "--data", dir, "--name", name, "--place", name, "--aim", "To test", "--founder",
		"Farida", "--http", address+":"+http, "--letters", "/ip4/"+address+"/tcp/"+letters)
}

// call runs a command of the program in this process and returns what it printed. It must succeed.
func call(tb testing.TB, args ...string) string {
	tb.Helper()
	out, errs, code := tryCall(args...)
	if code != 0 {
		tb.Fatalf("carecircle %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// tryCall runs a command of the program in this process and returns what it printed and its exit code.
func tryCall(args ...string) (out, errs string, code int) {
	var stdout, stderr bytes.Buffer
	code = run(args, strings.NewReader(""), &stdout, &stderr)
	return stdout.String(), stderr.String(), code
}

// waitUntil waits for a condition.
func waitUntil(tb testing.TB, what string, holds func() (bool, error)) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), waitLong)
	defer cancel()
	var last error
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		ok, err := holds()
		if ok {
			tick.Stop()
			return
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			tb.Fatalf("waited in vain until %s; last error: %v", what, last)
		case <-tick.C:
		}
	}
}
