package web_test

import (
	"bytes"
	"html"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
)

// photo is a JPEG as a telephone makes them.
func photo(width, height int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetRGBA(x, y, color.RGBA{R: uint8(x), G: uint8(y / 2), B: 90, A: 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// answer is what a request got.
type answer struct {
	status   int
	location string
	header   http.Header
	body     string
}

func (v *visitor) send(method, path, kind string, body io.Reader) answer {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.server.URL+path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{
		status: res.StatusCode, location: res.Header.Get("Location"), header: res.Header,
		body: string(raw),
	}
}

func (v *visitor) get(path string) answer {
	v.t.Helper()
	return v.send(http.MethodGet, path, "", nil)
}

func (v *visitor) post(path string, fields url.Values) answer {
	v.t.Helper()
	return v.send(http.MethodPost, path, "application/x-www-form-urlencoded",
		strings.NewReader(fields.Encode()))
}

var (
	hiddenField = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`)
	tag         = regexp.MustCompile(`<[^>]*>`)
)

// form opens a page and returns the hidden fields of the form that has the mark in it.
func (v *visitor) form(path, mark string) url.Values {
	v.t.Helper()
	page := v.get(path)
	if page.status != http.StatusOK {
		v.t.Fatalf("%s: %d", path, page.status)
	}
	return hidden(v.t, page.body, mark)
}

func hidden(t testing.TB, body, mark string) url.Values {
	t.Helper()
	for _, form := range strings.Split(body, "<form")[1:] {
		form, _, _ = strings.Cut(form, "</form>")
		if !strings.Contains(form, mark) {
			continue
		}
		fields := url.Values{}
		for _, field := range hiddenField.FindAllStringSubmatch(form, -1) {
			fields.Set(field[1], html.UnescapeString(field[2]))
		}
		return fields
	}
	t.Fatalf("the page has no form with %q", mark)
	return nil
}

// text is what can be read of a page.
func (a answer) text() string {
	return strings.Join(strings.Fields(html.UnescapeString(tag.ReplaceAllString(a.body, " "))), " ")
}

// says checks an answer's status and words.
func (a answer) says(t testing.TB, status int, words ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d to %s, want %d", a.status, a.location, status)
	}
	for _, w := range words {
		if !strings.Contains(a.text(), w) {
			t.Errorf("the page does not say %q. It says:\n%s", w, a.text())
		}
	}
}

// leads checks where an answer sends the browser.
func (a answer) leads(t testing.TB, to string) {
	t.Helper()
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.location, to) {
		t.Errorf("%d to %q, want %q. The page says:\n%s", a.status, a.location, to, a.text())
	}
}

// with fills in a form.
func with(fields url.Values, pairs ...string) url.Values {
	for i := 0; i < len(pairs); i += 2 {
		fields.Set(pairs[i], pairs[i+1])
	}
	return fields
}

func (s *site) balance(name string) int64 {
	s.t.Helper()
	return view[coin.Mine](s.town, name, "coin.mine").Balance
}

// multi is a form with a picture in it, as a browser sends it.
func multi(t testing.TB, fields url.Values, picture []byte) (kind string, body *bytes.Buffer) {
	t.Helper()
	body = &bytes.Buffer{}
	w := multipart.NewWriter(body)
	for name := range fields {
		if err := w.WriteField(name, fields.Get(name)); err != nil {
			t.Fatal(err)
		}
	}
	part, err := w.CreateFormFile("picture", "C:\\My Pictures\\beans.jpg")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(picture); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), body
}
