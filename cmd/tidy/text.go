package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// unfinished are the marks people leave on unfinished work. (Written apart, as are the words below, so
// that this file does not report itself.)
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

// foreign are places that mean something on one machine only.
var foreign = regexp.MustCompile(`(^|[^\w.$-])(/wo` + `rk/|/tmp/` + `team/)` +
	`|\b(proxy\.gol` + `ang\.org|registry\.np` + `mjs\.org|deb\.deb` + `ian\.org)\b`)

// checkMarks reports marks of unfinished work: in Go's comments, and anywhere in other text.
func checkMarks(t *tree) []finding {
	var found []finding
	for _, f := range t.files {
		if f.data || path.Ext(f.path) == ".json" {
			continue
		}
		if f.syntax == nil {
			found = append(found, matches(f, unfinished, "work left undone: do it or drop the mark %s")...)
			continue
		}
		for _, group := range f.syntax.Comments {
			for _, c := range group.List {
				if mark := unfinished.FindString(c.Text); mark != "" {
					text := "work left undone: do it or drop the mark " + mark
					found = append(found, finding{path: f.path, line: t.line(c.Pos()), text: text})
				}
			}
		}
	}
	return found
}

// checkPlaces reports paths of one machine and hosts of package registries: a clone must work anywhere.
func checkPlaces(t *tree) []finding {
	var found []finding
	for _, f := range t.files {
		if path.Base(f.path) != lockfile {
			found = append(found, matches(f, foreign, "%s means nothing on another machine")...)
		}
	}
	return found
}

// matches returns a finding for every line that the pattern matches; the format takes the match.
func matches(f *file, pattern *regexp.Regexp, format string) []finding {
	var found []finding
	for i, line := range bytes.Split(f.text, []byte("\n")) {
		if m := pattern.Find(line); m != nil {
			text := fmt.Sprintf(format, strings.TrimSpace(string(m)))
			found = append(found, finding{path: f.path, line: i + 1, text: text})
		}
	}
	return found
}

// lockfile is npm's list of exact versions. It names hosts only in its "resolved" fields.
const lockfile = "package-lock.json"

// checkLockfile reports lock files whose "resolved" fields name a host: versions and checksums are
// enough, and every machine has its own registry.
func checkLockfile(t *tree) []finding {
	var found []finding
	for _, f := range t.files {
		if path.Base(f.path) != lockfile {
			continue
		}
		var content any
		if err := json.Unmarshal(f.text, &content); err != nil {
			found = append(found, finding{path: f.path, line: 1, text: "not JSON: " + err.Error()})
			continue
		}
		if n := resolvedHosts(content); n > 0 {
			found = append(found, finding{
				path: f.path, line: 1,
				text: fmt.Sprintf("%d \"resolved\" fields name a host: put "+
					"omit-lockfile-registry-resolved=true in .npmrc and write the file again", n),
			})
		}
	}
	return found
}

// resolvedHosts counts the "resolved" fields with an address in them, however deep.
func resolvedHosts(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			if s, ok := inner.(string); ok && key == "resolved" && strings.Contains(s, "://") {
				n++
			}
			n += resolvedHosts(inner)
		}
	case []any:
		for _, inner := range v {
			n += resolvedHosts(inner)
		}
	}
	return n
}
