package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
)

// form is what every form of ours has: the id of the command it will send, drawn when the form is shown so
// that sending it twice counts once, and what was wrong with what was filled in.
type form struct {
	ID     string
	Errors []problem
	Wrong  map[string]string
	status int
}

type problem struct{ Field, Text string }

func (v *visit) newForm() (form, error) {
	id, err := v.pages.cfg.NewID()
	return form{ID: id.String(), Errors: []problem{}, Wrong: map[string]string{}, status: http.StatusOK}, err
}

// sentForm is the form as it came back.
func (v *visit) sentForm() (form, error) {
	f, err := v.newForm()
	f.ID = v.r.PostFormValue("id")
	return f, err
}

func (f form) wrong() bool { return len(f.Errors) > 0 }

// refuse says what is wrong with one field, named by the id of its input; empty: with the whole.
func (f *form) refuse(field, text string) {
	f.Errors = append(f.Errors, problem{Field: field, Text: text})
	if field != "" {
		f.Wrong[field] = text
	}
	f.status = http.StatusUnprocessableEntity
}

// fields says which input a refusal of the circle is about, by the refusal's code.
type fields map[string]string

// take puts an answer of the circle into the form to be shown again. After a refusal the form gets a new id,
// for the old one now stands for that refusal. When the circle could not answer, the id stays, so that
// sending the form again cannot count twice.
func (f *form) take(v *visit, err error, of fields) error {
	if e, ok := refusalOf(err); ok {
		text := inPlainWords(e)
		if e.Code == "id_reused" {
			text = "This form was sent once already. If you meant to do it again, send it once more."
		}
		f.refuse(of[e.Code], text)
		f.status = v.pages.cfg.StatusOf(e.Code)
		if f.status >= http.StatusInternalServerError { // no outcome: the id stays
			return nil
		}
		return f.renew(v)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	v.pages.cfg.Log.ErrorContext(v.r.Context(), "a form was not answered", "path", v.r.Pattern, "err", err)
	f.refuse("", "The circle could not answer just now. Please send this again: it counts once.")
	f.status = http.StatusServiceUnavailable
	return nil
}

// renew gives a form that is shown again after a refusal a new id.
func (f *form) renew(v *visit) error {
	id, err := v.pages.cfg.NewID()
	f.ID = id.String()
	return err
}

// readForm reads a form of plain fields.
func (v *visit) readForm() error {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, MaxFormBytes)
	return badForm(v.r.ParseForm())
}

// readFormWithFile reads a form that may have a file in it, which it returns; nil: none.
func (v *visit) readFormWithFile(name string) ([]byte, error) {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, MaxPictureBytes)
	err := v.r.ParseMultipartForm(MaxPictureBytes) // all in memory: none of it touches the disk
	if errors.Is(err, http.ErrNotMultipart) {
		return nil, badForm(v.r.ParseForm())
	}
	if err != nil {
		return nil, badForm(err)
	}
	file, _, err := v.r.FormFile(name)
	if errors.Is(err, http.ErrMissingFile) {
		return nil, nil
	}
	if err != nil {
		return nil, badForm(err)
	}
	defer file.Close() //nolint:errcheck // it is memory
	raw, err := io.ReadAll(file)
	return raw, badForm(err)
}

func badForm(err error) error {
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return machine.Refuse("too_large", "What you sent is larger than %d MB. Choose a smaller picture.",
			MaxPictureBytes>>20)
	default:
		return machine.Refuse("bad_request",
			"What you sent could not be read. Load the page again and retry.")
	}
}

// typed is what was filled in, without spaces around it.
func (v *visit) typed(field string) string { return strings.TrimSpace(v.r.PostFormValue(field)) }

// words is a text of several lines, its line ends as one sign each.
func (v *visit) words(field string) string { return strings.ReplaceAll(v.typed(field), "\r\n", "\n") }

// choose marks the option that was chosen.
func choose(options []option, value string) []option {
	for i := range options {
		options[i].Selected = options[i].Value == value && value != ""
	}
	return options
}

// fieldOf is an input and what is wrong with it, for templates.
func fieldOf(wrong map[string]string, id string) struct{ ID, Text string } {
	return struct{ ID, Text string }{ID: id, Text: wrong[id]}
}

// dict hands a template several values by name.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("dict takes names and values in turn")
	}
	named := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is not a name", pairs[i])
		}
		named[name] = pairs[i+1]
	}
	return named, nil
}
