package node

import (
	"log/slog"
	"net/http"
	"time"
)

// observed counts and logs every request: its route's pattern, status, time and bytes. Neither path nor
// query, person nor address are kept: a path may name a person, a query may hold a secret.
func (n *Node) observed(mux *http.ServeMux, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		_, route := mux.Handler(r)
		answer := &observedAnswer{ResponseWriter: w}
		defer func() {
			took := time.Since(began)
			n.watched.metrics.Request(route, answer.code(), took)
			level := slog.LevelInfo
			if answer.code() >= http.StatusInternalServerError {
				level = slog.LevelWarn
			}
			n.options.Log.LogAttrs(r.Context(), level, "request",
				slog.String("route", route), slog.Int("status", answer.code()),
				slog.Float64("ms", float64(took.Microseconds())/1000), slog.Int64("bytes", answer.bytes))
		}()
		next.ServeHTTP(answer, r)
	})
}

// observedAnswer notes what was answered.
type observedAnswer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (a *observedAnswer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 { // what is below comes before the answer proper
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *observedAnswer) Write(p []byte) (int, error) {
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach what can flush.
func (a *observedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// code is the status the client got; a handler that says nothing has said 200.
func (a *observedAnswer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}
