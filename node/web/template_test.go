package web

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// bodies are what each template is given, by the template's name.
var bodies = map[string]any{
	"error": errorBody{}, "signin/signin": signInBody{}, "signin/enter": enterBody{},
	"signin/expired": expiredBody{},
	"signin/welcome": welcomeBody{}, "coins/mine": mineBody{}, "coins/statement": statementBody{},
	"coins/give": giveBody{}, "coins/pay": payBody{}, "coins/given": givenBody{},
	"coins/abroad":  abroadBody{},
	"coins/journey": journeyBody{}, "circle/ours": oursBody{}, "circle/coordinate": coordinateBody{},
	"circle/allies": alliesBody{}, "me/me": meBody{}, "me/shown": shownBody{}, "me/move": moveBody{},
	"circle/arrivals": arrivalsBody{}, "circle/setoff": roundsBody{},
	"circle/federation": federationBody{}, "circle/compare": compareBody{}, "find/find": findBody{},
	"find/ask": askBody{}, "find/contacts": contactsBody{},
	"me/kept": keptBody{}, "me/erase": eraseBody{}, "me/erased": erasedBody{},
}

// TestTemplates renders every template with its samples, as the struct its page hands over: a sample with a
// field that the page does not have, or a template that asks for one, fails.
func TestTemplates(t *testing.T) {
	templates, err := parseTemplates(templateFiles)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := filepath.Glob("templates/testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, name := range samples {
		t.Run(filepath.Base(name), func(t *testing.T) {
			template, f := readSample(t, name)
			shown[template] = true
			var b bytes.Buffer
			if err := templates[template].ExecuteTemplate(&b, "layout", f); err != nil {
				t.Fatal(err)
			}
			if text := b.String(); strings.Contains(text, "ZgotmplZ") || strings.Contains(text,
				"<no value>") {
				t.Error("a value did not come through")
			}
		})
	}
	for name := range templates {
		if !shown[name] {
			t.Errorf("template %s has no sample", name)
		}
	}
}

func readSample(t *testing.T, name string) (template string, f page) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var sample struct {
		Template string
		Page     json.RawMessage
	}
	strictly(t, raw, &sample)
	template = strings.TrimSuffix(sample.Template, ".html")
	body, ok := bodies[template]
	if !ok {
		t.Fatalf("no page uses the template %q", template)
	}
	typed := reflect.New(reflect.TypeOf(body))
	f.Body = typed.Interface()
	strictly(t, sample.Page, &f)
	return template, f
}

func strictly(t *testing.T, raw []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// TestTemplatesAreSafe looks for what the content security policy forbids and for forms that would ask
// another address, in the templates as they are written.
func TestTemplatesAreSafe(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<style|<script>|javascript:|https?://|` +
		`\shx-on|target="_blank"`)
	err := fs.WalkDir(templateFiles, "templates", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(templateFiles, name)
		if err != nil {
			return err
		}
		if bad := forbidden.Find(raw); bad != nil {
			t.Errorf("%s holds %q", name, bad)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
