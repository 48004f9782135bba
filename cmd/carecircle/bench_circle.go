package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/carecircle/carecircle/node"
)

const (
	benchStopWait = 30 * time.Second
	clockTick     = 10 * time.Millisecond // of /proc/PID/stat, on every Linux there is
)

// benchCircle is a circle of real nodes, each a process of this very program.
type benchCircle struct {
	nodes []*benchNode
	token string // the operator's
}

// benchNode is one of them.
type benchNode struct {
	cmd   *exec.Cmd
	stdin io.Closer // held open while the node is to run
	addr  string
	said  bytes.Buffer // what it complained of
	ended chan struct{}
}

// benchUsage is what the nodes have used since they began.
type benchUsage struct {
	written int64
	cpu     time.Duration
	memory  string // megabytes of each
}

// startBenchCircle founds a circle in dir and serves it from so many replicas.
func startBenchCircle(ctx context.Context, dir string, replicas int) (*benchCircle, error) {
	if replicas != 1 {
		return nil, usageError{fmt.Errorf("a circle of %d replicas cannot be made here; say --replicas 1",
			replicas)}
	}
	home := filepath.Join(dir, "one")
	http, err := freeAddr()
	if err != nil {
		return nil, err
	}
	err = node.Init(home, node.Config{
		Name: "Bench", Place: "Bench", Aim: "To be measured", Founder: "Farida", HTTP: http,
		Letters: []string{"/ip4/127.0.0.1/tcp/0"},
	})
	if err != nil {
		return nil, err
	}
	c := &benchCircle{}
	if c.token, err = node.OperatorToken(home); err != nil {
		return nil, err
	}
	n, err := startBenchNode(ctx, home, http)
	if err != nil {
		return nil, err
	}
	c.nodes = append(c.nodes, n)
	return c, nil
}

// freeAddr returns a loopback address with a port that is free now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// startBenchNode serves a directory and returns once the node is ready.
func startBenchNode(ctx context.Context, dir, addr string) (*benchNode, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start a node: %w", err)
	}
	n := &benchNode{addr: addr, ended: make(chan struct{})}
	n.cmd = exec.Command(self, "serve", "--data", dir, "--log-level", "error")
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for us: we stop it in order
	n.cmd.Stderr = &n.said
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a node: %w", err)
	}
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start a node: %w", err)
	}
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a node: %w", err)
	}
	ready := make(chan struct{})
	go func() {
		defer close(n.ended)
		lines := bufio.NewScanner(out)
		if lines.Scan() {
			close(ready)
		}
		for lines.Scan() { // it must not wait for us to read
		}
		_ = n.cmd.Wait() // stop tells by ended, and reads what it said
	}()
	select {
	case <-ready:
		return n, nil
	case <-n.ended:
		return nil, fmt.Errorf("the node in %s did not start: %s", dir, strings.TrimSpace(n.said.String()))
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), n.stop())
	}
}

// stop ends the node as an operator would, and in the end without asking.
func (n *benchNode) stop() error {
	closeQuietly(n.stdin)
	_ = n.cmd.Process.Signal(os.Interrupt) // it may be gone already
	late := time.NewTimer(benchStopWait)
	defer late.Stop()
	select {
	case <-n.ended:
	case <-late.C:
		_ = n.cmd.Process.Kill()
		<-n.ended
		return fmt.Errorf("a node did not stop within %v and was killed", benchStopWait)
	}
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("a node ended with code %d: %s", code, strings.TrimSpace(n.said.String()))
	}
	return nil
}

func (c *benchCircle) stop() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.stop())
	}
	return errors.Join(errs...)
}

// usage adds up what the nodes used, as the kernel counts it.
func (c *benchCircle) usage() (u benchUsage, err error) {
	var memory []string
	for _, n := range c.nodes {
		proc := filepath.Join("/proc", strconv.Itoa(n.cmd.Process.Pid))
		written, err := procNumber(filepath.Join(proc, "io"), "write_bytes:")
		if err != nil {
			return u, err
		}
		resident, err := procNumber(filepath.Join(proc, "status"), "VmRSS:")
		if err != nil {
			return u, err
		}
		stat, err := os.ReadFile(filepath.Join(proc, "stat"))
		if err != nil {
			return u, fmt.Errorf("bench: %w", err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			return u, fmt.Errorf("bench: %s/stat is not of the form known", proc)
		}
		for _, field := range fields[11:13] { // user and system time
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return u, fmt.Errorf("bench: %s/stat: %w", proc, err)
			}
			u.cpu += time.Duration(ticks) * clockTick
		}
		u.written += written
		memory = append(memory, strconv.FormatInt(resident>>10, 10))
	}
	u.memory = strings.Join(memory, " ")
	return u, nil
}

// procNumber reads the number behind a name in one of the kernel's files.
func procNumber(file, name string) (int64, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("bench: %s has no %s", file, name)
}
