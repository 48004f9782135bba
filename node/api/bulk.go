package api

import (
	"net/http"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
)

// Bulk is a request of machines: many transfers as one coin.import.
type Bulk struct {
	// UUID; empty: the node draws one, and a retry records all of it again
	ID        string         `json:"id,omitempty" doc:"UUID; repeat it to repeat the request"`
	Activity  string         `json:"activity" doc:"what it was all for"`
	Transfers coin.Transfers `json:"transfers" doc:"at most 1,000 lines: [from, to, minutes, when]"`
}

func (a *API) bulk(w http.ResponseWriter, r *http.Request) {
	by, ok := a.cfg.Caller(r.Context())
	if !ok {
		a.refuse(w, notSignedIn())
		return
	}
	var req Bulk
	if err := strictJSON(http.MaxBytesReader(w, r.Body, MaxBodyBytes), &req); err != nil {
		a.refuse(w, err)
		return
	}
	id, err := idOf(req.ID)
	if err != nil {
		a.refuse(w, err)
		return
	}
	body := coin.Import{Activity: req.Activity, Transfers: req.Transfers}
	c, err := machine.NewCommand(id, by, 0, "coin.import", body)
	if err != nil {
		a.refuse(w, err)
		return
	}
	a.run(w, r, c)
}
