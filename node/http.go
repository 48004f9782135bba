package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/auth"
	"github.com/carecircle/carecircle/node/export"
	"github.com/carecircle/carecircle/node/web"
)

func exit(code int) { os.Exit(code) }

// Link is how letters to one other circle go.
type Link struct {
	Circle    string `json:"circle"`
	Connected bool   `json:"connected"`
	Held      uint64 `json:"held"` // letters of ours they hold
	Tail      uint64 `json:"tail"` // letters of ours there are
	LastError string `json:"lastError,omitempty"`
	RetryAt   int64  `json:"retryAt,omitempty"`
}

// Links returns how letters to the other circles go.
func (n *Node) Links() []Link {
	out := []Link{}
	for _, s := range *n.letters.status.Load() {
		out = append(out, Link{
			Circle: string(s.Peer), Connected: s.Connected, Held: s.Held, Tail: s.Tail,
			LastError: s.LastError,
			RetryAt:   s.RetryAt,
		})
	}
	return out
}

func (n *Node) openHTTP() error {
	token, err := OperatorToken(n.Dir)
	if err != nil {
		return err
	}
	gate, err := auth.New(auth.Config{
		Circle: n, Origin: n.Config.origin(), Name: n.Config.Name, OperatorToken: auth.HashToken(token),
		Log: n.options.Log, Failed: n.watched.metrics.SignInFailed,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	served, err := api.New(api.Config{
		Circle: n, Caller: auth.CallerFrom, StatusOf: auth.StatusOf, Log: n.options.Log,
	}, n.Config.Name+" on carecircle", n.options.Version)
	if err != nil {
		return err
	}
	served.Routes(mux)
	for _, r := range gate.Handlers() {
		mux.HandleFunc(r.Pattern, r.Handler)
	}
	pages, err := web.New(web.Config{
		Circle: n, Gate: gate, Caller: auth.CallerFrom, NewID: api.NewID, NewSecret: auth.NewSecret,
		StatusOf: auth.StatusOf,
		Origin:   n.Config.origin(), Card: n.CardText, OpenCard: charter.ParseText, Links: n.webLinks,
		Find: n.Find, Compare: n.Compare,
		Version: n.options.Version, Log: n.options.Log,
	})
	if err != nil {
		return err
	}
	pages.Routes(mux)
	n.ownRoutes(mux)
	if n.listen, err = net.Listen("tcp", n.Config.HTTP); err != nil {
		return fmt.Errorf("listen on %s; is another node running there? %w", n.Config.HTTP, err)
	}
	n.http = &http.Server{
		Handler:           n.observed(mux, n.fresh(gate.Identify(gate.Protect(mux)))),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(n.options.Log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return context.Background() },
	}
	if err := n.serveMetrics(); err != nil {
		return err
	}
	n.http.RegisterOnShutdown(n.stop)
	n.running.Go(func() {
		if err := n.http.Serve(n.listen); !errors.Is(err, http.ErrServerClosed) {
			n.fatal(fmt.Errorf("serve %s: %w", n.Config.HTTP, err))
		}
	})
	return nil
}

func (n *Node) webLinks() []web.Link {
	out := []web.Link{}
	for _, l := range n.Links() {
		out = append(out, web.Link{
			Circle: l.Circle, Connected: l.Connected, LastError: l.LastError, RetryAt: l.RetryAt,
		})
	}
	return out
}

// ownRoutes are the node's own addresses: what is neither a command nor a view of the circle.
func (n *Node) ownRoutes(mux *http.ServeMux) {
	n.healthRoutes(mux)
	mux.HandleFunc("GET /metrics", n.operatorOnly(func(w http.ResponseWriter, r *http.Request) error {
		n.watched.metrics.Handler().ServeHTTP(w, r)
		return nil
	}))
	mux.HandleFunc("GET /api/v1/card", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, n.CardText()) //nolint:errcheck // the client is gone
	})
	mux.HandleFunc("GET /api/v1/status", n.operatorOnly(func(w http.ResponseWriter, _ *http.Request) error {
		s := n.Status()
		s.Backup = n.BackupStatus() // reads a disk that may hang: not for whoever asks whether the node lives
		return writeJSON(w, s)
	}))
	mux.HandleFunc("GET /api/v1/backup", n.operatorOnly(n.sendBackup))
	n.replicaRoutes(mux)
	n.snapshotRoute(mux)
	n.scrubRoutes(mux)
	n.compareRoute(mux)
	mux.HandleFunc("GET /api/v1/export/{format}", n.operatorOnly(func(w http.ResponseWriter,
		r *http.Request,
	) error {
		return n.Export(w, r.PathValue("format"))
	}))
}

// Export writes the coin book or the signed log in a format of package export.
func (n *Node) Export(w io.Writer, format string) error {
	return export.Write(w, n.replica, n.Keys.Circle, format)
}

// operatorOnly lets whoever runs the node's machine through.
func (n *Node) operatorOnly(next func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		by, ok := auth.CallerFrom(r.Context())
		if !ok || by.Actor != machine.ActorOperator {
			w.WriteHeader(http.StatusForbidden)
			//nolint:errcheck
			writeJSON(w, machine.Refuse("not_allowed", "Only whoever runs this node may do this."))
			return
		}
		if err := next(w, r); err != nil {
			n.options.Log.Error("request failed", "path", r.URL.Path, "err", err)
			http.Error(w, `{"code":"unavailable","message":"This could not be done just now."}`,
				http.StatusServiceUnavailable)
		}
	}
}
