package node

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/auth"
	"github.com/carecircle/carecircle/node/web"
)

const (
	freshLimit  = 2 * time.Second // the longest a read waits for the other replicas
	staleHeader = "Carecircle-Stale"
)

// asItIs are the addresses that need not see what another replica has answered: they say how this one does,
// or what never changes, or put their question into the log.
var asItIs = []string{
	"/assets/", "/healthz", "/readyz", "/metrics", "/api/v1/do/", "/api/v1/bulk", "/api/v1/status",
	"/api/v1/replicas", "/api/v1/card", "/api/v1/kinds", "/api/v1/openapi.json", "/api/v1/backup",
}

// fresh makes reads linearizable in a circle with several replicas: whoever reads sees all that was answered
// before, by whichever replica. Where the others cannot be reached, a page is shown as this replica knows it
// and says so; the API refuses, unless it is asked with stale=1 for what this replica has.
func (n *Node) fresh(next http.Handler) http.Handler {
	if n.company == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, prefix := range asItIs {
			if strings.HasPrefix(r.URL.Path, prefix) {
				next.ServeHTTP(w, r)
				return
			}
		}
		toAPI := strings.HasPrefix(r.URL.Path, "/api/")
		if query := r.URL.Query(); toAPI && query.Has("stale") {
			query.Del("stale")
			r = r.Clone(r.Context())
			r.URL.RawQuery = query.Encode()
			w.Header().Set(staleHeader, "perhaps")
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), freshLimit)
		err := n.Fresh(ctx)
		cancel()
		switch {
		case err == nil:
		case toAPI:
			refusal := machine.Refuse("stale", "This machine cannot reach a majority of the circle's others"+
				" just now, so what it knows may be out of date. Try again, ask another one, or add stale=1.")
			w.WriteHeader(auth.StatusOf(refusal.Code))
			writeJSON(w, refusal) //nolint:errcheck // the client is gone
			return
		default:
			w.Header().Set(staleHeader, "perhaps")
			r = r.WithContext(web.Stale(r.Context()))
		}
		next.ServeHTTP(w, r)
	})
}
