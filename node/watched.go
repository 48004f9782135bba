package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carecircle/carecircle/node/metrics"
	"github.com/carecircle/carecircle/node/replica"
)

const (
	drainFor   = time.Second      // how long one that stops goes on serving, so that proxies look elsewhere
	stuckAfter = 20 * time.Second // committed entries that are not applied for so long: the replica is stuck
)

// watched is how others see that a node gets on.
type watched struct {
	metrics  *metrics.Metrics
	server   *http.Server // of the metrics' own address, nil: none
	listen   net.Listener // the same
	ready    atomic.Int64 // nanoseconds from start to ready, 0: not yet
	stopping atomic.Bool

	mu      sync.Mutex
	applied uint64    // as last seen by Alive with something waiting
	waits   time.Time // when that was first seen; zero: nothing waited
}

// Drain makes /readyz say no while everything goes on being served, so that whoever sends people here has
// time to send them elsewhere. Close does it too, without waiting.
func (n *Node) Drain() {
	if n.watched.stopping.Swap(true) || n.http == nil {
		return
	}
	n.options.Log.Info("stopping")
	n.http.SetKeepAlivesEnabled(false)
}

// Stop stops the node as a service is stopped: it is not ready any more, a moment later it closes.
func (n *Node) Stop(ctx context.Context) error {
	n.Drain()
	t := time.NewTimer(drainFor)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return n.Close()
}

// readyAfter is how long the start took; zero while it goes on.
func (n *Node) readyAfter() time.Duration { return time.Duration(n.watched.ready.Load()) }

// Check is one thing a node needs to serve people.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Says string `json:"says,omitempty"` // what is wrong; never about people
}

// Checks returns what /readyz looks at, in order.
func (n *Node) Checks() []Check {
	return n.checks(n.replica.Status())
}

func (n *Node) checks(s replica.Status) []Check {
	var all []Check
	add := func(name string, ok bool, says string) {
		if ok {
			says = ""
		}
		all = append(all, Check{Name: name, OK: ok, Says: says})
	}
	add("running", s.Err == nil, "the replica has stopped; the log says why")
	add("serving", !n.watched.stopping.Load(), "the node is stopping")
	add("leader", s.Leader != "", "no leader is known: more than half of the circle's replicas must run")
	add("caught up", n.readyAfter() > 0, "what was committed before the start is still being applied")
	add("room", !n.low(), "the disk is nearly full: nothing is written until some space is freed")
	return all
}

// notReady returns the first check that fails, nil where all is well.
func notReady(checks []Check) *Check {
	for i := range checks {
		if !checks[i].OK {
			return &checks[i]
		}
	}
	return nil
}

// Alive returns nil while the replica gets on: it runs, its state can be read, and what was committed is
// being applied. A hang in applying makes it wait, which is what a watchdog wants.
func (n *Node) Alive() error {
	s := n.replica.Status()
	if s.Err != nil {
		return fmt.Errorf("the replica has stopped: %w", s.Err)
	}
	return n.watched.progress(s.Applied, s.Commit, time.Now())
}

func (w *watched) progress(applied, commit uint64, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case applied >= commit:
		w.waits = time.Time{}
		return nil
	case applied != w.applied || w.waits.IsZero():
		w.applied, w.waits = applied, now
		return nil
	}
	if quiet := now.Sub(w.waits); quiet >= stuckAfter {
		return fmt.Errorf("log entry %d is committed and the state is at %d for %v", commit, applied,
			quiet.Round(time.Second))
	}
	return nil
}

// healthRoutes are for whoever watches over the node; they say nothing about people.
func (n *Node) healthRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := n.Alive(); err != nil {
			http.Error(w, "stopped", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		answer := struct {
			Ready  bool    `json:"ready"`
			Checks []Check `json:"checks"`
		}{Checks: n.Checks()}
		answer.Ready = notReady(answer.Checks) == nil
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !answer.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(answer) //nolint:errcheck // the client is gone
	})
}

// serveMetrics listens on the metrics' own address, where there is one.
func (n *Node) serveMetrics() error {
	if n.Config.Metrics == "" {
		return nil
	}
	var err error
	if n.watched.listen, err = net.Listen("tcp", n.Config.Metrics); err != nil {
		return fmt.Errorf("listen for metrics on %s; is another node running there? %w",
			n.Config.Metrics, err)
	}
	mux := http.NewServeMux()
	n.healthRoutes(mux)
	mux.Handle("GET /metrics", n.watched.metrics.Handler())
	n.watched.server = &http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(n.options.Log.Handler(), slog.LevelWarn),
	}
	n.running.Go(func() {
		if err := n.watched.server.Serve(n.watched.listen); !errors.Is(err, http.ErrServerClosed) {
			n.fatal(fmt.Errorf("serve metrics on %s: %w", n.Config.Metrics, err))
		}
	})
	return nil
}

// MetricsAddr returns the metrics' own address; empty: there is none.
func (n *Node) MetricsAddr() string {
	if n.watched.listen == nil {
		return ""
	}
	return n.watched.listen.Addr().String()
}

func (n *Node) closeMetrics() error {
	if n.watched.server == nil {
		return nil
	}
	return n.watched.server.Close()
}
