package api_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/api"
)

func TestBulk(t *testing.T) {
	_, server := serve(t)
	operator := api.NewClient(server.URL, "operator")
	found(t, operator)
	_, err := operator.Do(t.Context(), "", "", "coin.policy", coin.SetPolicy{
		EarnDayMinutes: 600, ReviewOn: "2026-09-30",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const id = "018f0000-0000-7000-8000-000000000001"
	ask := `{"id":"` + id + `","activity":"shop",
		"transfers":[["issuance","pool",60], ["issuance","pool",30,5]]}`
	for _, repeated := range []bool{false, true} {
		var got coin.Imported
		answer := api.Answer{Result: &got}
		err := operator.Call(t.Context(), http.MethodPost, "/api/v1/bulk", []byte(ask), &answer)
		if err != nil {
			t.Fatal(err)
		}
		if got.Count != 2 || got.First == 0 || answer.ID != id || answer.Repeated != repeated {
			t.Errorf("%+v %+v", answer, got)
		}
	}
	var overview coin.Overview
	if err := operator.View(t.Context(), "coin.overview", nil, &overview); err != nil {
		t.Fatal(err)
	}
	for _, a := range overview.Accounts {
		if a.Account == "pool" && a.Minutes != 90 {
			t.Errorf("the pool has %d minutes, want 90", a.Minutes)
		}
	}
	for _, c := range []struct{ by, code, body string }{
		{"", "not_signed_in", ask},
		{"farida", "not_allowed", strings.Replace(ask, "01\"", "02\"", 1)},
		{"operator", "bad_body", `{"transfers":[["issuance","pool",1.5]]}`},
		{"operator", "bad_body", `{"transfers":[["issuance","pool",1]],"colour":1}`},
		{"operator", "bad_body", `[]`},
		{"operator", "bad_id", `{"id":"7","activity":"shop","transfers":[["issuance","pool",1]]}`},
		{"operator", "import_refused", `{"activity":"shop","transfers":[["pool","issuance",1]]}`},
		{"operator", "id_reused", strings.Replace(ask, "60", "61", 1)},
	} {
		err := api.NewClient(server.URL, c.by).Call(t.Context(), http.MethodPost, "/api/v1/bulk",
			[]byte(c.body), new(api.Answer))
		var refusal *machine.Error
		if !errors.As(err, &refusal) || refusal.Code != c.code {
			t.Errorf("%s by %q: %v, want %s", c.body, c.by, err, c.code)
		}
	}
}
