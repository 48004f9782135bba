package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
)

const keepAlive = 25 * time.Second

// events streams what happens, as far as the caller is its audience, as server-sent events: one message an
// event, its number as id. A page that was away reads the view member.events for what it missed.
func (a *API) events(w http.ResponseWriter, r *http.Request) {
	by, ok := a.cfg.Caller(r.Context())
	if !ok {
		a.refuse(w, machine.Refuse("not_signed_in", "Sign in first."))
		return
	}
	flusher := http.NewResponseController(w)
	if err := flusher.SetWriteDeadline(time.Time{}); err != nil {
		a.fail(w, "events", err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprint(w, ": carecircle\n\n") //nolint:errcheck // the flush below tells
	if flusher.Flush() != nil {
		return
	}
	news, stop := a.cfg.Circle.Watch()
	defer stop()
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-alive.C:
			fmt.Fprint(w, ": still here\n\n") //nolint:errcheck // the flush below tells
		case batch, open := <-news:
			if !open {
				return
			}
			a.send(w, by, batch)
		}
		if flusher.Flush() != nil {
			return
		}
	}
}

func (a *API) send(w http.ResponseWriter, by machine.Caller, batch []machine.Event) {
	for _, e := range batch {
		if !slices.Contains(e.Audience, machine.AudienceCircle) && !slices.Contains(e.Audience, by.Actor) {
			continue
		}
		raw, err := json.Marshal(struct {
			Kind    string `json:"kind"`
			Minutes int64  `json:"minutes,omitempty"`
			At      int64  `json:"at"`
		}{e.Kind, e.Minutes, e.At})
		if err != nil {
			a.cfg.Log.Error("event cannot be written as JSON", "err", err)
			return
		}
		fmt.Fprintf(w, "id: %d\nevent: happened\ndata: %s\n\n", e.Number, raw) //nolint:errcheck
	}
}
