package web

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node/web/assets"
)

// visit is one request, who makes it, and what every page shows of them.
type visit struct {
	pages *Pages
	w     http.ResponseWriter
	r     *http.Request
	by    machine.Caller // with the person acted for, if any
	known bool           // somebody is signed in
	me    member.Me      // the one signed in, not the one acted for
	about member.AboutCircle
}

// self is the one signed in, acting for nobody but themselves.
func (v *visit) self() machine.Caller { return machine.Caller{Actor: v.by.Actor} }

// signedIn lets members in and sends strangers to the sign-in page.
func (p *Pages) signedIn(fn func(*visit) error) func(*visit) error {
	return func(v *visit) error {
		if !v.known {
			next := "/signin"
			if v.r.Method == http.MethodGet {
				next += "?next=" + url.QueryEscape(v.r.URL.RequestURI())
			}
			return v.seeOther(next)
		}
		var err error
		if v.me, err = ask[member.Me](v, v.self(), "member.me", nil); err != nil {
			return err
		}
		return fn(v)
	}
}

// ask reads a view for a caller.
func ask[A any](v *visit, by machine.Caller, name string, set func(query any) error) (A, error) {
	var answer A
	got, err := v.pages.cfg.Circle.View(v.r.Context(), by, name, set)
	if err != nil {
		return answer, fmt.Errorf("view %s: %w", name, err)
	}
	answer, ok := got.(A)
	if !ok {
		return answer, fmt.Errorf("view %s: the answer is a %T", name, got)
	}
	return answer, nil
}

// filled is the setter of a view's query.
func filled[Q any](q Q) func(query any) error {
	return func(query any) error {
		to, ok := query.(*Q)
		if !ok {
			return fmt.Errorf("the query is a %T", query)
		}
		*to = q
		return nil
	}
}

// do has the circle do a command for the caller. A refusal is a *machine.Error; after any other error it is
// not known whether it was done, and the same id may be sent again.
func do[R any](v *visit, by machine.Caller, id, kind string, body any) (R, error) {
	var result R
	parsed, err := machine.ParseID(id)
	if err != nil {
		return result, machine.Refuse("bad_id", "This form was not complete. Please send it once more.")
	}
	c, err := machine.NewCommand(parsed, by, 0, kind, body)
	if err != nil {
		return result, err
	}
	out, err := v.pages.cfg.Circle.Do(v.r.Context(), c)
	if err != nil {
		return result, fmt.Errorf("do %s: %w", kind, err)
	}
	if out.Refusal != nil {
		return result, out.Refusal
	}
	result, ok := out.Result.(R)
	if !ok {
		return result, fmt.Errorf("do %s: the result is a %T", kind, out.Result)
	}
	return result, nil
}

// refusalOf returns err's refusal, if it is one.
func refusalOf(err error) (*machine.Error, bool) {
	var e *machine.Error
	var coded interface{ Refusal() (code, message string) }
	if errors.As(err, &e) || errors.As(err, &coded) {
		return machine.AsError(err), true
	}
	return nil, false
}

// unlessHidden drops the refusal that an advocate gets where their leave does not reach: the page then does
// without that part.
func unlessHidden(err error) error {
	if e, ok := refusalOf(err); ok && e.Code == "may_not_act" {
		return nil
	}
	return err
}

// seeOther sends the browser on to another page of ours, for the same person.
func (v *visit) seeOther(address string) error {
	if v.by.OnBehalfOf != "" {
		address = withFor(address, v.by.OnBehalfOf)
	}
	http.Redirect(v.w, v.r, address, http.StatusSeeOther)
	return nil
}

// done sends the browser to a page that says what was done: one of the notices.
func (v *visit) done(address, notice string) error { return v.seeOther(address + "?done=" + notice) }

// localAddress is an address within these pages, as it stands in an attribute of what templates wrote:
// what people typed cannot look like it, for quotes are escaped there.
var localAddress = regexp.MustCompile(`\b(href|action|hx-get)="(/[^"]*)"`)

// keepFor puts the person acted for into every address on a page, so that no link or form forgets them.
func keepFor(page []byte, person string) []byte {
	if person == "" {
		return page
	}
	return localAddress.ReplaceAllFunc(page, func(attribute []byte) []byte {
		part := localAddress.FindSubmatch(attribute)
		address := html.UnescapeString(string(part[2]))
		if strings.HasPrefix(address, assets.Prefix) {
			return attribute
		}
		return fmt.Appendf(nil, `%s="%s"`, part[1], html.EscapeString(withFor(address, person)))
	})
}

// withFor adds the field by which the gate knows whom a page is for.
func withFor(address, person string) string {
	address, fragment, marked := strings.Cut(address, "#")
	joint := "?"
	if strings.Contains(address, "?") {
		joint = "&"
	}
	address += joint + "for=" + url.QueryEscape(person)
	if marked {
		address += "#" + fragment
	}
	return address
}

// session finds which of the person's sessions this request belongs to: the one whose token a cookie holds.
// The name of the cookie is the gate's own business.
func (v *visit) session() (token string, s member.OpenedAt, ok bool) {
	for _, cookie := range v.r.Cookies() {
		if s, ok := sessionWith(v.me, cookie.Value); ok {
			return cookie.Value, s, true
		}
	}
	return "", member.OpenedAt{}, false
}

// sessionWith finds the session of a token: sessions are known by its SHA-256.
func sessionWith(me member.Me, token string) (s member.OpenedAt, ok bool) {
	hash := machine.Hash(sha256.Sum256([]byte(token)))
	at := slices.IndexFunc(me.Sessions, func(s member.OpenedAt) bool { return s.Session == hash })
	if at < 0 {
		return s, false
	}
	return me.Sessions[at], true
}
