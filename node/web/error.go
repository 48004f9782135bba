package web

import (
	"context"
	"errors"
	"net/http"

	"github.com/carecircle/carecircle/circle/machine"
)

// errorBody is what templates/error.html shows.
type errorBody struct {
	Title, Happened, Do, Reference string
}

// errorPage turns an error into a page. A refusal is told in its own sentence; anything else is logged under
// a reference, and only the reference is shown.
func (p *Pages) errorPage(v *visit, err error) {
	status, body := p.inWords(v, err)
	if unlessHidden(err) == nil { // the way on must not lead back to the person they may not act for
		v.by.OnBehalfOf = ""
	}
	f, frameErr := v.frame(body.Title)
	if frameErr != nil { // the circle cannot even say its name: the page does without it
		f.Circle.Name = "Your"
	}
	f.Notices = nil
	f.Body = body
	if renderErr := p.render(v, status, "error", "layout", f); renderErr != nil {
		p.cfg.Log.ErrorContext(v.r.Context(), "the error page failed", "err", renderErr)
		http.Error(v.w, body.Happened, http.StatusInternalServerError)
	}
}

func (p *Pages) inWords(v *visit, err error) (int, errorBody) {
	if e, ok := refusalOf(err); ok {
		body := errorBody{
			Title: "That did not work", Happened: inPlainWords(e),
			Do: "Go back and try again. If it happens again, ask someone in your circle.",
		}
		switch status := p.cfg.StatusOf(e.Code); status {
		case http.StatusUnauthorized:
			body.Title, body.Do = "Please sign in", "Go to the first page and sign in."
			return status, body
		case http.StatusForbidden:
			body.Title, body.Do = "This page is not for you", "All that is yours is on the first page."
			return status, body
		case http.StatusNotFound:
			body.Title, body.Do = "There is nothing here", "Check the address, or go to the first page."
			return status, body
		default:
			return status, body
		}
	}
	reference := "none"
	if id, idErr := p.cfg.NewID(); idErr == nil {
		reference = id.String()[24:]
	}
	if !errors.Is(err, context.Canceled) {
		p.cfg.Log.ErrorContext(v.r.Context(), "a page failed", "path", v.r.Pattern, "reference", reference,
			"err", err)
	}
	return http.StatusServiceUnavailable, errorBody{
		Title:     "The circle cannot answer just now",
		Happened:  "Something is not working on our side. Nothing is lost.",
		Do:        "Wait a minute, then try again. What you sent counts once, even if you send it twice.",
		Reference: reference,
	}
}

// inPlainWords is a refusal's sentence, with the decision behind it where there is one.
func inPlainWords(e *machine.Error) string {
	if e.Because == "" {
		return e.Message
	}
	return e.Message + " The circle decided this: " + e.Because + "."
}

func (p *Pages) notFound(*visit) error {
	return machine.Refuse("page_unknown", "There is no page at this address.")
}
