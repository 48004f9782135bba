// Package web is the pages people use. Each page asks the circle's views what to show and sends what was
// filled in as a command; no rule lives here. Everything works without scripts.
package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/web/assets"
)

// Limits of the pages.
const (
	MaxFormBytes    = 64 << 10 // of a form without a picture
	MaxPictureBytes = 12 << 20 // of a form with one
	MaxPixels       = 50 << 20 // of a picture, width times height

	answerTimeout  = 20 * time.Second
	statementLines = 25
	linkLife       = 7 * 24 * time.Hour // of an invitation or a sign-in link
	maxPips        = 20                 // coins that are drawn one by one
)

// Circle is the running circle.
type Circle interface {
	Do(ctx context.Context, c machine.Command) (machine.Outcome, error)
	View(ctx context.Context, by machine.Caller, name string, set func(query any) error) (any, error)
}

// Gate is what the pages need of signing in.
type Gate interface {
	Enter(ctx context.Context, linkSecret string) (token, person string, until time.Time, err error)
	SignOut(ctx context.Context, token string) error
	SetSession(w http.ResponseWriter, r *http.Request, token string, until time.Time)
	ClearSession(w http.ResponseWriter, r *http.Request)
}

// Link is how the connection to one other circle is.
type Link struct {
	Circle    string // its id
	Connected bool
	LastError string
	RetryAt   int64 // Unix milliseconds; 0: no retry is planned
}

// Config is what the pages are made from. Links and Now may be nil.
type Config struct {
	Circle   Circle
	Gate     Gate
	Caller   func(ctx context.Context) (machine.Caller, bool) // set by whoever checked the request
	StatusOf func(code string) int                            // HTTP status of a refusal
	NewID    func() (machine.ID, error)
	// NewSecret draws the secret of a link; the hash is its SHA-256.
	NewSecret func() (secret string, hash machine.Hash, err error)
	Origin    string        // where people reach the node, for links to give away
	Card      func() string // this circle's card as text
	OpenCard  func(text string) (sealed []byte, err error)
	Links     func() []Link
	Find      Finder
	Compare   Comparer
	Version   string
	Now       func() time.Time
	Log       *slog.Logger
}

// Pages serves the pages. It may be used by many goroutines at once.
type Pages struct {
	cfg       Config
	origin    string
	templates map[string]*template.Template // by page: "coins/mine"
	cookery   chan struct{}                 // one picture is decoded at a time: it may take a lot of memory
}

//go:embed templates/*.html templates/*/*.html
var templateFiles embed.FS

// New parses every template and checks that nothing needed is missing.
func New(cfg Config) (*Pages, error) {
	if cfg.Circle == nil || cfg.Gate == nil || cfg.Caller == nil || cfg.StatusOf == nil || cfg.NewID == nil ||
		cfg.NewSecret == nil || cfg.Card == nil || cfg.OpenCard == nil || cfg.Find == nil ||
		cfg.Compare == nil || cfg.Log == nil {
		return nil, errors.New("make the pages: the configuration is not complete")
	}
	origin, err := url.Parse(cfg.Origin)
	if err != nil || origin.Host == "" {
		return nil, fmt.Errorf("make the pages: %q is not an address such as https://hb.example", cfg.Origin)
	}
	if cfg.Links == nil {
		cfg.Links = func() []Link { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Pages{cfg: cfg, origin: strings.TrimRight(cfg.Origin, "/"), cookery: make(chan struct{}, 1)}
	if p.templates, err = parseTemplates(templateFiles); err != nil {
		return nil, fmt.Errorf("make the pages: %w", err)
	}
	return p, nil
}

// parseTemplates joins every page with the frame and the parts that all share.
func parseTemplates(files fs.FS) (map[string]*template.Template, error) {
	shared, err := template.New("").Funcs(template.FuncMap{
		"asset": assets.Path, "field": fieldOf,
		"dict": dict,
	}).
		ParseFS(files, "templates/layout.html", "templates/parts.html", "templates/icons.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "templates/*/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, name := range append(names, "templates/error.html") {
		page, err := shared.Clone()
		if err != nil {
			return nil, err
		}
		if page, err = page.ParseFS(files, name); err != nil {
			return nil, err
		}
		pages[strings.TrimPrefix(strings.TrimSuffix(name, path.Ext(name)), "templates/")] = page
	}
	return pages, nil
}

// Routes registers the pages.
func (p *Pages) Routes(mux *http.ServeMux) {
	mux.Handle("GET "+assets.Prefix, assets.Handler())
	open := map[string]func(*visit) error{
		"GET /{$}":             p.first,
		"GET /signin":          p.signIn,
		"POST /signin/link":    p.pasteLink,
		"GET /enter/{secret}":  p.showEnter,
		"POST /enter/{secret}": p.enter,
		"/":                    p.notFound,
	}
	members := map[string]func(*visit) error{
		"POST /signout":                  p.signOut,
		"GET /welcome":                   p.welcome,
		"GET /coins":                     p.mine,
		"GET /coins/statement":           p.statement,
		"GET /coins/done":                p.given,
		"GET /coins/give":                p.giveForm,
		"POST /coins/give":               p.give,
		"GET /coins/pay":                 p.payForm,
		"POST /coins/pay":                p.pay,
		"GET /coins/abroad":              p.abroadForm,
		"POST /coins/abroad":             p.abroad,
		"GET /coins/journey":             p.journey,
		"GET /pictures/{transfer}":       p.picture,
		"POST /coins/autogift":           p.autoGift,
		"POST /coins/code":               p.drawCode,
		"GET /circle":                    p.ours,
		"GET /circle/coordinate":         p.coordinate,
		"POST /circle/coordinate":        p.doCoordinate,
		"GET /circle/arrivals":           p.arrivals,
		"POST /circle/arrivals":          p.decideArrival,
		"GET /circle/setoff":             p.rounds,
		"POST /circle/setoff":            p.answerRound,
		"GET /circle/federation":         p.federation,
		"POST /circle/federation/join":   p.joinFederation,
		"POST /circle/federation/invite": p.inviteCircle,
		"POST /circle/federation/set":    p.setCircle,
		"GET /circle/compare":            p.compare,
		"GET /circle/allies":             p.allies,
		"POST /circle/allies/meet":       p.meet,
		"POST /circle/allies/consent":    p.consent,
		"GET /find":                      p.find,
		"GET /find/ask":                  p.askForm,
		"POST /find/ask":                 p.ask,
		"GET /find/contacts":             p.contacts,
		"POST /find/contacts":            p.answer,
		"GET /me":                        p.me,
		"GET /me/shown":                  p.shown,
		"POST /me/shown":                 p.show,
		"POST /me/shown/back":            p.takeBack,
		"GET /me/move":                   p.move,
		"POST /me/move":                  p.askMove,
		"POST /me/move/cancel":           p.cancelMove,
		"POST /me/move/go":               p.goMove,
		"GET /me/kept":                   p.kept,
		"GET /me/erase":                  p.eraseForm,
		"POST /me/erase":                 p.erase,
		"POST /me/choose":                p.choose,
		"POST /me/passkeys/remove":       p.removePasskey,
		"POST /me/sessions/close":        p.closeSessions,
	}
	for pattern, fn := range open {
		mux.Handle(pattern, p.handle(fn))
	}
	for pattern, fn := range members {
		mux.Handle(pattern, p.handle(p.signedIn(fn)))
	}
}

// handle makes a handler of a page that may fail: here, and only here, an error becomes a page.
func (p *Pages) handle(fn func(*visit) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
		defer cancel()
		secure(w.Header())
		v := &visit{pages: p, w: w, r: r.WithContext(ctx)}
		v.by, v.known = p.cfg.Caller(ctx)
		if err := fn(v); err != nil {
			p.errorPage(v, err)
		}
	})
}

// secure sets the headers that every page carries. The policy on referrers tells other sites nothing, and
// still has old browsers say where a form comes from, by which the gate tells our forms from others'.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self';"+
		" img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; form-action 'self';"+
		" base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// render writes one page; nothing is sent if the template fails.
func (p *Pages) render(v *visit, status int, page, block string, data any) error {
	var b bytes.Buffer
	if err := p.templates[page].ExecuteTemplate(&b, block, data); err != nil {
		return fmt.Errorf("write the page %s: %w", page, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	v.w.Write(keepFor(b.Bytes(), v.by.OnBehalfOf)) //nolint:errcheck // the reader is gone
	return nil
}
