package auth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
)

// StatusOf returns the HTTP status for a refusal's code.
func StatusOf(code string) int {
	switch code {
	case "not_signed_in", "not_a_member":
		return http.StatusUnauthorized
	case "not_allowed", "hat_missing", "may_not_act", "actor_reserved", "cross_site", "passkey_refused",
		"passkey_cloned":
		return http.StatusForbidden
	case "bad_request":
		return http.StatusBadRequest
	case "too_large":
		return http.StatusRequestEntityTooLarge
	case "too_many_requests":
		return http.StatusTooManyRequests
	case "unavailable", "stale", "not_reached":
		return http.StatusServiceUnavailable
	case "disk_low":
		return http.StatusInsufficientStorage
	}
	switch {
	case strings.HasSuffix(code, "_unknown"), strings.HasPrefix(code, "unknown_"):
		return http.StatusNotFound
	case strings.HasSuffix(code, "_reused"), strings.HasSuffix(code, "_exists"),
		strings.HasPrefix(code, "already_"):
		return http.StatusConflict
	}
	return http.StatusUnprocessableEntity
}

// refuse answers with an error: as JSON to programs, as one sentence to people.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, err error) {
	g.refuseAs(w, r, err, wantsJSON(r))
}

func (g *Gate) refuseAs(w http.ResponseWriter, r *http.Request, err error, asJSON bool) {
	refusal := g.inWords(r, err)
	status := StatusOf(refusal.Code)
	var tooMany TooMany
	if errors.As(err, &tooMany) {
		w.Header().Set("Retry-After", strconv.Itoa(tooMany.Seconds()))
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if asJSON {
		g.answer(w, r, status, refusal)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, refusal.Message, status)
}

// inWords returns what to tell the client. Only a refusal is for its eyes; anything else is logged.
func (g *Gate) inWords(r *http.Request, err error) *machine.Error {
	var refusal *machine.Error
	var coded interface{ Refusal() (code, message string) }
	if errors.As(err, &refusal) || errors.As(err, &coded) {
		return machine.AsError(err)
	}
	if !errors.Is(err, context.Canceled) {
		g.log.ErrorContext(r.Context(), "sign-in could not ask the circle", "path", r.URL.Path, "error", err)
	}
	return machine.Refuse("unavailable", "The circle cannot answer just now. Please try again in a minute.")
}

func wantsJSON(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, apiPrefix) ||
		strings.Contains(r.Header.Get("Accept"), "application/json") ||
		strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
}

// answer writes JSON that no cache keeps.
func (g *Gate) answer(w http.ResponseWriter, r *http.Request, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil { // the client went away: no one is left to tell
		g.log.DebugContext(r.Context(), "answer not sent", "path", r.URL.Path, "error", err)
	}
}

// readBody returns a request's body of at most MaxBodyBytes.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	if err != nil {
		return nil, badBody(err)
	}
	return raw, nil
}

// readJSON reads a request's body into v, a pointer to a struct that names every field there may be.
// No body at all leaves v as it is.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	raw, err := readBody(w, r)
	if err != nil || len(raw) == 0 {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return machine.Refuse("bad_body", "The request is not of its form: %v.", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return machine.Refuse("bad_body", "The request has something after its end. Send one JSON object.")
	}
	return nil
}
