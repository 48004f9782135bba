package assets

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"
)

func built() fstest.MapFS {
	return fstest.MapFS{
		"manifest.json":   {Data: []byte(`{"app.css":"app-AB.css","LICENSES.txt":"LICENSES.txt"}`)},
		"app-AB.css":      {Data: []byte("body{}")},
		"app-AB.css.gz":   {Data: []byte("packed")},
		"LICENSES.txt":    {Data: []byte("thanks")},
		"not-listed.html": {Data: []byte("no")},
	}
}

func ask(files fstest.MapFS, path, encoding, ifNoneMatch string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept-Encoding", encoding)
	r.Header.Set("If-None-Match", ifNoneMatch)
	w := httptest.NewRecorder()
	handlerFor(files).ServeHTTP(w, r)
	return w
}

func TestHandler(t *testing.T) {
	tests := []struct {
		name, path, encoding, ifNoneMatch string
		status                            int
		body, coding, cache               string
	}{
		{"plain", "/assets/app-AB.css", "", "", 200, "body{}", "", keepForeverValue},
		{"packed", "/assets/app-AB.css", "br, gzip", "", 200, "packed", "gzip", keepForeverValue},
		{"gzip refused", "/assets/app-AB.css", "gzip;q=0", "", 200, "body{}", "", keepForeverValue},
		{"gzip weighed", "/assets/app-AB.css", "gzip; q=0.5", "", 200, "packed", "gzip", keepForeverValue},
		{"known already", "/assets/app-AB.css", "", `"app-AB.css"`, 304, "", "", keepForeverValue},
		{
			"other coding known", "/assets/app-AB.css", "gzip", `"app-AB.css"`, 200, "packed", "gzip",
			keepForeverValue,
		},
		{"no hash", "/assets/LICENSES.txt", "", "", 200, "thanks", "", askAgainValue},
		{"unhashed name", "/assets/app.css", "", "", 404, "404 page not found\n", "", ""},
		{"not in the manifest", "/assets/not-listed.html", "", "", 404, "404 page not found\n", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := ask(built(), test.path, test.encoding, test.ifNoneMatch)
			if w.Code != test.status || w.Body.String() != test.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, test.status, test.body)
			}
			if got := w.Header().Get("Content-Encoding"); got != test.coding {
				t.Errorf("Content-Encoding %q, want %q", got, test.coding)
			}
			if got := w.Header().Get("Cache-Control"); got != test.cache {
				t.Errorf("Cache-Control %q, want %q", got, test.cache)
			}
		})
	}
}

func TestContentTypeIsOurs(t *testing.T) {
	w := ask(built(), "/assets/app-AB.css", "gzip", "")
	if got := w.Header().Get("Content-Type"); got != "text/css; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
}

func TestNotBuiltSaysWhatToDo(t *testing.T) {
	w := ask(fstest.MapFS{".keep": {}}, "/assets/app.css", "", "")
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != ErrNotBuilt.Error()+"\n" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}
