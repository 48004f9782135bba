// Command build makes node/web/assets/dist from what npm ci has fetched: one style sheet, one script, fonts
// and icons, each named by its content, with a manifest, compressed copies and the licences of all that
// went in.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

const (
	keepName     = ".keep"
	manifestName = "manifest.json"
	licencesName = "LICENSES.txt"
)

// compressible lists the kinds that gain from gzip; fonts and pictures are compressed already.
var compressible = []string{".css", ".js", ".svg", ".txt"}

func main() {
	dir := flag.String("dir", "node/web/assets", "the folder with package.json, scripts, styles and icons")
	flag.Parse()
	if err := build(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "assets:", err)
		os.Exit(1)
	}
}

func build(dir string) error {
	root, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(root, "node_modules")); err != nil {
		return fmt.Errorf("no node_modules in %s: run npm ci there first: %w", dir, err)
	}
	out := filepath.Join(root, "dist")
	built, err := bundle(root, out)
	if err != nil {
		return err // the earlier build is still whole
	}
	if err := empty(out); err != nil {
		return err
	}
	for _, file := range built.OutputFiles {
		if err := os.WriteFile(file.Path, file.Contents, 0o644); err != nil {
			return fmt.Errorf("write built file: %w", err)
		}
	}
	manifest, err := logicalNames(built.Metafile)
	if err != nil {
		return err
	}
	if err := writeLicences(root, out); err != nil {
		return err
	}
	manifest[licencesName] = licencesName
	if err := compress(out, manifest); err != nil {
		return err
	}
	return writeManifest(out, manifest)
}

// empty removes what an earlier build left, so that no stale file is embedded.
func empty(out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("make dist: %w", err)
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		return fmt.Errorf("read dist: %w", err)
	}
	for _, entry := range entries {
		if entry.Name() == keepName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(out, entry.Name())); err != nil {
			return fmt.Errorf("empty dist: %w", err)
		}
	}
	return nil
}

// bundle makes everything in memory: nothing is written when any part fails.
func bundle(root, out string) (api.BuildResult, error) {
	icons, err := filepath.Glob(filepath.Join(root, "icons", "*"))
	if err != nil {
		return api.BuildResult{}, fmt.Errorf("list icons: %w", err)
	}
	entries := append([]string{"scripts/app.js", "styles/app.scss"}, icons...)
	result := api.Build(api.BuildOptions{
		AbsWorkingDir:     root,
		EntryPoints:       entries,
		Outdir:            out,
		EntryNames:        "[name]-[hash]",
		AssetNames:        "[name]-[hash]",
		Bundle:            true,
		Metafile:          true,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LegalComments:     api.LegalCommentsNone,
		Format:            api.FormatESModule,
		Platform:          api.PlatformBrowser,
		Engines: []api.Engine{
			{Name: api.EngineChrome, Version: "100"},
			{Name: api.EngineFirefox, Version: "100"},
			{Name: api.EngineSafari, Version: "15.4"},
		},
		Loader: map[string]api.Loader{
			".woff2": api.LoaderFile, ".svg": api.LoaderCopy, ".png": api.LoaderCopy,
		},
		Plugins: []api.Plugin{sassPlugin(root)},
	})
	var failures []error
	for _, message := range append(result.Errors, result.Warnings...) {
		failures = append(failures, errors.New(describe(message)))
	}
	if len(failures) > 0 {
		return api.BuildResult{}, fmt.Errorf("bundle: %w", errors.Join(failures...))
	}
	return result, nil
}

func describe(message api.Message) string {
	if message.Location == nil {
		return message.Text
	}
	return fmt.Sprintf("%s:%d: %s", message.Location.File, message.Location.Line, message.Text)
}

// sassPlugin hands .scss files to the sass compiler from npm and the result back to esbuild as CSS.
func sassPlugin(root string) api.Plugin {
	return api.Plugin{Name: "sass", Setup: func(build api.PluginBuild) {
		build.OnLoad(api.OnLoadOptions{Filter: `\.scss$`}, func(args api.OnLoadArgs) (api.OnLoadResult,
			error,
		) {
			var css, complaints bytes.Buffer
			command := exec.Command("node", "node_modules/sass/sass.js", "--load-path=node_modules",
				"--quiet-deps", "--no-source-map", args.Path)
			command.Dir, command.Stdout, command.Stderr = root, &css, &complaints
			if err := command.Run(); err != nil {
				return api.OnLoadResult{}, fmt.Errorf("sass: %w\n%s", err, complaints.String())
			}
			contents := css.String()
			return api.OnLoadResult{Contents: &contents, Loader: api.LoaderCSS, ResolveDir: root}, nil
		})
	}}
}

// logicalNames reads esbuild's report: app.scss became app-HASH.css is {"app.css": "app-HASH.css"}.
func logicalNames(report string) (map[string]string, error) {
	var meta struct {
		Outputs map[string]json.RawMessage `json:"outputs"`
	}
	if err := json.Unmarshal([]byte(report), &meta); err != nil {
		return nil, fmt.Errorf("decode build report: %w", err)
	}
	names := make(map[string]string, len(meta.Outputs))
	for output := range meta.Outputs {
		hashed := filepath.Base(output)
		kind := filepath.Ext(hashed)
		stem := strings.TrimSuffix(hashed, kind)
		cut := strings.LastIndex(stem, "-")
		if cut < 0 {
			return nil, fmt.Errorf("built file %s has no hash in its name", hashed)
		}
		names[stem[:cut]+kind] = hashed
	}
	return names, nil
}

func compress(out string, manifest map[string]string) error {
	for _, name := range manifest {
		if !slices.Contains(compressible, filepath.Ext(name)) {
			continue
		}
		plain, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			return fmt.Errorf("compress %s: %w", name, err)
		}
		var packed bytes.Buffer
		writer, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			return fmt.Errorf("compress %s: %w", name, err)
		}
		if _, err := writer.Write(plain); err != nil {
			return fmt.Errorf("compress %s: %w", name, err)
		}
		if err := writer.Close(); err != nil {
			return fmt.Errorf("compress %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(out, name+".gz"), packed.Bytes(), 0o644); err != nil {
			return fmt.Errorf("compress %s: %w", name, err)
		}
	}
	return nil
}

func writeManifest(out string, manifest map[string]string) error {
	raw, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, manifestName), append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

type packageFile struct {
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	License      string            `json:"license"`
	Dependencies map[string]string `json:"dependencies"`
}

func readPackage(folder string) (packageFile, error) {
	var read packageFile
	raw, err := os.ReadFile(filepath.Join(folder, "package.json"))
	if err != nil {
		return read, fmt.Errorf("read package.json: %w", err)
	}
	if err := json.Unmarshal(raw, &read); err != nil {
		return read, fmt.Errorf("decode %s/package.json: %w", folder, err)
	}
	return read, nil
}

// writeLicences names every package under "dependencies": those are bundled; devDependencies only build
// or test.
func writeLicences(root, out string) error {
	ours, err := readPackage(root)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(ours.Dependencies))
	for name := range ours.Dependencies {
		names = append(names, name)
	}
	slices.Sort(names)
	var text strings.Builder
	text.WriteString("These works are part of the pages of carecircle. Our thanks to their makers.\n")
	for _, name := range names {
		folder := filepath.Join(root, "node_modules", filepath.FromSlash(name))
		read, err := readPackage(folder)
		if err != nil {
			return err
		}
		words, err := licenceWords(root, folder, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "\n%s\n%s %s (%s)\n\n%s\n", strings.Repeat("-", 80),
			read.Name, read.Version, read.License, strings.TrimSpace(words))
	}
	if err := os.WriteFile(filepath.Join(out, licencesName), []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("write licences: %w", err)
	}
	return nil
}

// licenceWords prefers the package's own file; a package that ships none needs one in licences/.
func licenceWords(root, folder, name string) (string, error) {
	places := []string{
		filepath.Join(folder, "LICENSE"), filepath.Join(folder, "LICENSE.md"),
		filepath.Join(root, "licences", filepath.Base(name)+".txt"),
	}
	for _, place := range places {
		words, err := os.ReadFile(place)
		if err == nil {
			return string(words), nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("read licence of %s: %w", name, err)
		}
	}
	return "", fmt.Errorf("no licence found for %s: put its text in licences/%s.txt", name,
		filepath.Base(name))
}
