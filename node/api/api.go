// Package api is a circle's node over HTTP and JSON: do a command, read a view, follow events. Routes,
// descriptions and the OpenAPI file all come from the circle's rules and views; a new feature adds nothing
// here. Client is the Go side of it, which the command line uses.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/carecircle/carecircle/circle/machine"
)

// Limits of one request.
const (
	MaxBodyBytes = 512 << 10 // JSON; a picture is base64 in it
	doTimeout    = 20 * time.Second
)

// Circle is the running circle.
type Circle interface {
	Do(ctx context.Context, c machine.Command) (machine.Outcome, error)
	View(ctx context.Context, by machine.Caller, name string, set func(query any) error) (any, error)
	Watch() (events <-chan []machine.Event, stop func())
	Machine() *machine.Machine
}

// Config says what the API serves and how it knows its callers.
type Config struct {
	Circle   Circle
	Caller   func(ctx context.Context) (machine.Caller, bool) // set by whoever checked the request
	StatusOf func(code string) int
	Log      *slog.Logger
}

// API serves a circle.
type API struct {
	cfg     Config
	openAPI []byte
}

// New prepares the API; it fails if the OpenAPI description cannot be made.
func New(cfg Config, title, version string) (*API, error) {
	doc, err := json.MarshalIndent(Describe(cfg.Circle.Machine(), title, version), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("describe the api: %w", err)
	}
	return &API{cfg: cfg, openAPI: append(doc, '\n')}, nil
}

// Routes registers the API's handlers.
func (a *API) Routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/do/{kind}", a.do)
	mux.HandleFunc("POST /api/v1/bulk", a.bulk)
	mux.HandleFunc("GET /api/v1/view/{name}", a.view)
	mux.HandleFunc("GET /api/v1/events", a.events)
	mux.HandleFunc("GET /api/v1/kinds", a.kinds)
	mux.HandleFunc("GET /api/v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(a.openAPI) //nolint:errcheck // the client is gone
	})
}

// Request is the body of a do.
type Request struct {
	// UUID; empty: the node draws one, and a retry is a new command
	ID         string          `json:"id,omitempty"`
	OnBehalfOf string          `json:"onBehalfOf,omitempty"` // the person acted for
	Body       json.RawMessage `json:"body,omitempty"`
}

// Answer is what a command that was done gives.
type Answer struct {
	ID       string `json:"id"`
	Position uint64 `json:"position"`
	Repeated bool   `json:"repeated,omitempty"`
	Result   any    `json:"result"`
}

// NewID draws a command id: a UUIDv7.
func NewID() (machine.ID, error) {
	id, err := uuid.NewV7()
	return machine.ID(id), err
}

func (a *API) do(w http.ResponseWriter, r *http.Request) {
	by, ok := a.cfg.Caller(r.Context())
	if !ok {
		a.refuse(w, notSignedIn())
		return
	}
	var req Request
	if err := strictJSON(http.MaxBytesReader(w, r.Body, MaxBodyBytes), &req); err != nil {
		a.refuse(w, err)
		return
	}
	if req.OnBehalfOf != "" {
		by.OnBehalfOf = req.OnBehalfOf
	}
	c, err := BuildCommand(a.cfg.Circle.Machine(), by, r.PathValue("kind"), req)
	if err != nil {
		a.refuse(w, err)
		return
	}
	a.run(w, r, c)
}

func notSignedIn() error { return machine.Refuse("not_signed_in", "Sign in first.") }

// run has the circle do a command, and answers.
func (a *API) run(w http.ResponseWriter, r *http.Request, c machine.Command) {
	ctx, cancel := context.WithTimeout(r.Context(), doTimeout)
	defer cancel()
	out, err := a.cfg.Circle.Do(ctx, c)
	switch {
	case err != nil:
		a.fail(w, "do "+c.Kind, err)
	case out.Refusal != nil:
		a.refuse(w, out.Refusal)
	default:
		a.write(w, http.StatusOK, Answer{
			ID: c.ID.String(), Position: out.Position, Repeated: out.Repeated, Result: out.Result,
		})
	}
}

// BuildCommand turns a JSON request into a command of the kind, or says what is wrong with it.
func BuildCommand(m *machine.Machine, by machine.Caller, kind string, req Request) (machine.Command, error) {
	id, err := idOf(req.ID)
	if err != nil {
		return machine.Command{}, err
	}
	rule, ok := m.Newest(kind)
	if !ok {
		return machine.Command{}, machine.Refuse("unknown_kind", "There is no command %.60q. The list:"+
			" carecircle help kinds.", kind)
	}
	body := reflect.New(rule.Body)
	if len(req.Body) == 0 {
		req.Body = json.RawMessage("{}")
	}
	if err := strictJSON(bytes.NewReader(req.Body), body.Interface()); err != nil {
		return machine.Command{}, err
	}
	return machine.NewCommand(id, by, 0, kind, body.Elem().Interface())
}

// idOf reads a request's id, or draws one.
func idOf(text string) (machine.ID, error) {
	if text == "" {
		return NewID()
	}
	return machine.ParseID(text)
}

// strictJSON reads exactly one JSON value without fields nobody knows.
func strictJSON(r io.Reader, v any) error {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	var tooLarge *http.MaxBytesError
	var refusal *machine.Error
	switch {
	case errors.As(err, &tooLarge):
		return machine.Refuse("too_large", "The request is larger than %d KB.", tooLarge.Limit>>10)
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, io.EOF):
		return machine.Refuse("bad_body", "The request has no JSON in it.")
	case err != nil:
		return machine.Refuse("bad_body", "The request is not of its form: %s.",
			strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return machine.Refuse("bad_body", "There is something after the JSON value.")
	}
	return nil
}

func (a *API) view(w http.ResponseWriter, r *http.Request) {
	by, _ := a.cfg.Caller(r.Context())
	query := r.URL.Query()
	if who := query.Get("onBehalfOf"); who != "" {
		by.OnBehalfOf = who
		query.Del("onBehalfOf")
	}
	ctx, cancel := context.WithTimeout(r.Context(), doTimeout)
	defer cancel()
	got, err := a.cfg.Circle.View(ctx, by, r.PathValue("name"), func(q any) error {
		return SetQuery(q,
			query)
	})
	if err != nil {
		a.fail(w, "view", err)
		return
	}
	a.write(w, http.StatusOK, got)
}

// Kind is one command or view, as /api/v1/kinds lists it.
type Kind struct {
	Kind  string `json:"kind"`
	Who   string `json:"who"`
	Doc   string `json:"doc"`
	Since uint32 `json:"since,omitempty"`
}

// Kinds lists what a machine can do and answer.
type Kinds struct {
	Commands []Kind `json:"commands"`
	Views    []Kind `json:"views"`
}

// ListKinds returns every kind and view with who may use it.
func ListKinds(m *machine.Machine) Kinds {
	out := Kinds{Commands: []Kind{}, Views: []Kind{}}
	for _, r := range m.Rules() {
		out.Commands = append(out.Commands, Kind{
			Kind: r.Kind, Who: r.Policy.Name, Doc: r.Doc,
			Since: r.Since,
		})
	}
	for _, v := range m.Views() {
		out.Views = append(out.Views, Kind{Kind: v.Name, Who: v.Policy.Name, Doc: v.Doc})
	}
	return out
}

func (a *API) kinds(w http.ResponseWriter, _ *http.Request) {
	a.write(w, http.StatusOK, ListKinds(a.cfg.Circle.Machine()))
}

// refuse answers with a refusal.
func (a *API) refuse(w http.ResponseWriter, err error) {
	e := machine.AsError(err)
	a.write(w, a.cfg.StatusOf(e.Code), e)
}

// fail answers with a refusal if err is one; anything else is the node's trouble and is not shown.
func (a *API) fail(w http.ResponseWriter, what string, err error) {
	var refusal *machine.Error
	if errors.As(err, &refusal) {
		a.refuse(w, refusal)
		return
	}
	a.cfg.Log.Error("request failed", "what", what, "err", err)
	a.write(w, http.StatusServiceUnavailable, machine.Refuse("unavailable",
		"The circle's node could not answer just now. Send the same request again, with the same id."))
}

func (a *API) write(w http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		a.cfg.Log.Error("answer cannot be written as JSON", "err", err)
		http.Error(w, `{"code":"internal","message":"The answer could not be written."}`,
			http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(raw, '\n')) //nolint:errcheck // the client is gone
}
