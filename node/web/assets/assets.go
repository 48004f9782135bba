// Package assets holds what the pages are dressed with (style sheet, script, fonts, icons) as built
// by `make assets`, and serves it. Names carry a hash of the content, so a browser may keep a file for ever.
package assets

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

const (
	// Prefix is the address under which Handler is to be mounted.
	Prefix = "/assets/"

	manifestName     = "manifest.json"
	keepForeverValue = "public, max-age=31536000, immutable"
	askAgainValue    = "no-cache"
)

// ErrNotBuilt says that the binary was built without its assets. `make assets` before `go build` mends it.
var ErrNotBuilt = errors.New("assets: nothing built in: run make assets, then build again")

//go:embed all:dist
var dist embed.FS

// FS returns the built files by their hashed names, without the dist folder in front.
func FS() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(fmt.Sprintf("assets: embedded folder dist is missing: %v", err))
	}
	return sub
}

var loadManifest = sync.OnceValues(func() (map[string]string, error) { return readManifest(FS()) })

func readManifest(files fs.FS) (map[string]string, error) {
	raw, err := fs.ReadFile(files, manifestName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotBuilt
	}
	if err != nil {
		return nil, fmt.Errorf("assets: read manifest: %w", err)
	}
	var names map[string]string
	if err := json.Unmarshal(raw, &names); err != nil {
		return nil, fmt.Errorf("assets: decode manifest: %w", err)
	}
	return names, nil
}

// Manifest returns logical name to hashed name, such as "app.css" to "app-ABC123.css".
// The error is ErrNotBuilt when the binary was built without `make assets`.
func Manifest() (map[string]string, error) { return loadManifest() }

// Path returns the address of a file by its logical name: Path("app.css") is "/assets/app-ABC123.css".
// A name that was not built comes back unhashed; asking for it answers 404 or "run make assets".
func Path(logical string) string {
	names, err := Manifest()
	if err != nil {
		return Prefix + logical
	}
	hashed, ok := names[logical]
	if !ok {
		return Prefix + logical
	}
	return Prefix + hashed
}

// Handler serves the built files under Prefix: kept by browsers for a year, compressed where a .gz was built.
// Without built files it answers 503 and says what to do.
func Handler() http.Handler { return handlerFor(FS()) }

func handlerFor(files fs.FS) http.Handler {
	names, manifestErr := readManifest(files)
	cacheFor := make(map[string]string, len(names)) // served name to Cache-Control
	for logical, served := range names {
		cacheFor[served] = keepForeverValue
		if served == logical { // no hash in the name: the content may change under it
			cacheFor[served] = askAgainValue
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if manifestErr != nil {
			http.Error(w, manifestErr.Error(), http.StatusServiceUnavailable)
			return
		}
		name := strings.TrimPrefix(path.Clean(r.URL.Path), Prefix)
		if cacheFor[name] == "" {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are answered here", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Cache-Control", cacheFor[name])
		serve(w, r, files, name)
	})
}

func serve(w http.ResponseWriter, r *http.Request, files fs.FS, name string) {
	head := w.Header()
	head.Set("Content-Type", contentType(name))
	head.Set("X-Content-Type-Options", "nosniff")
	head.Add("Vary", "Accept-Encoding")
	hashed := head.Get("Cache-Control") == keepForeverValue
	if acceptsGzip(r) {
		if _, err := fs.Stat(files, name+".gz"); err == nil {
			head.Set("Content-Encoding", "gzip")
			if hashed {
				head.Set("ETag", `"`+name+`.gz"`)
			}
			http.ServeFileFS(w, r, files, name+".gz")
			return
		}
	}
	if hashed {
		head.Set("ETag", `"`+name+`"`)
	}
	http.ServeFileFS(w, r, files, name)
}

// contentType does not ask the machine's own table for the few types we ship, so every node answers alike.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".woff2":
		return "font/woff2"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
		return kind
	}
	return "application/octet-stream"
}

// acceptsGzip reads Accept-Encoding plainly: gzip or * is named and not refused by q=0.
func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		coding, weight, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), ";")
		if c := strings.TrimSpace(coding); c != "gzip" && c != "*" {
			continue
		}
		q, given := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		return !given || strings.Trim(q, "0.") != ""
	}
	return false
}
