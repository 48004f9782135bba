package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/carecircle/carecircle/node"
)

// statusEvery is how often systemd hears how the node does where no watchdog asks more often.
const statusEvery = 10 * time.Second

// service is what systemd is told of this process. Where systemd did not start it, nobody listens.
type service struct {
	notify   func(state string) error
	watchdog time.Duration // systemd ends a process that it has not heard of for so long; 0: never
	log      *slog.Logger
}

// servedNode is the part of a node that a service looks at.
type servedNode interface {
	Alive() error
	Status() node.Status
}

func newService(log *slog.Logger) (service, error) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return service{}, fmt.Errorf("read systemd's watchdog time from WATCHDOG_USEC: %w", err)
	}
	notify := func(state string) error {
		_, err := daemon.SdNotify(false, state)
		return err
	}
	return service{notify: notify, watchdog: watchdog, log: log}, nil
}

// attend says that the node is ready and, while it gets on, that it is alive, until ctx ends; then that it
// stops. A node that hangs is not told of, so systemd starts it again.
func (s service) attend(ctx context.Context, n servedNode) error {
	if err := s.notify(daemon.SdNotifyReady); err != nil {
		return fmt.Errorf("tell systemd that the node is ready: %w", err)
	}
	go s.feed(ctx, n) // beside: looking at a node that hangs may hang
	<-ctx.Done()
	if err := s.notify(daemon.SdNotifyStopping + "\nSTATUS=stopping"); err != nil {
		return fmt.Errorf("tell systemd that the node stops: %w", err)
	}
	return nil
}

func (s service) feed(ctx context.Context, n servedNode) {
	every := statusEvery
	if s.watchdog > 0 {
		every = min(every, s.watchdog/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		state := "STATUS=" + oneLine(n.Status())
		if err := n.Alive(); err != nil {
			s.log.Error("the node does not get on: the watchdog will end it", "err", err)
			state = "STATUS=does not get on"
		} else if s.watchdog > 0 {
			state = daemon.SdNotifyWatchdog + "\n" + state
		}
		if err := s.notify(state); err != nil {
			s.log.Warn("systemd could not be told how the node does", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if ctx.Err() != nil {
			return // both were due: what stops is not told of as alive
		}
	}
}

// oneLine is how a node does, for systemctl status.
func oneLine(s node.Status) string {
	does := "not ready"
	if s.Ready {
		does = "ready"
	}
	return fmt.Sprintf("%s; %s; log entry %d", does, role(s.Replica), s.Replica.Applied)
}

// role says in plain words what a replica does.
func role(r node.ReplicaStatus) string {
	switch {
	case r.Stopped != "":
		return "stopped"
	case r.State == "Leader":
		return "leads its circle"
	case r.Leader != "":
		return "follows " + r.Leader
	}
	return "knows no leader"
}
