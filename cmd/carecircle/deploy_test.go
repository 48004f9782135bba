package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var deployDir = filepath.Join("..", "..", "deploy")

func readDeploy(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deployDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// systemdAnalyze runs systemd's own check of a unit.
func systemdAnalyze(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal("systemd-analyze is not installed; \"make deps\" installs what the tests need")
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestUnit has systemd read the unit: it is right in every line, and well locked up.
func TestUnit(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unit := readDeploy(t, "carecircle.service")
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/carecircle (.*)$`).FindStringSubmatch(unit)
	if start == nil {
		t.Fatal("the unit does not start the program")
	}
	command, rest, err := newRoot().Find(strings.Fields(start[1]))
	if err != nil || command.Name() != "serve" {
		t.Fatalf("the unit starts %q: %v", start[1], err)
	}
	if err := command.ParseFlags(rest); err != nil || len(command.Flags().Args()) > 0 {
		t.Errorf("the unit's words %q: %v", rest, err)
	}
	// The program is not installed where tests run.
	here := filepath.Join(t.TempDir(), "carecircle.service")
	unit = strings.ReplaceAll(unit, "/usr/local/bin/carecircle", self)
	if err := os.WriteFile(here, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := systemdAnalyze(t, "verify", "--man=no", here); said != "" {
		t.Errorf("systemd says of the unit:\n%s", said)
	}
	rated := systemdAnalyze(t, "security", "--offline=yes", "--no-pager", here)
	exposure := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(rated)
	if exposure == nil {
		t.Fatalf("systemd-analyze security says:\n%s", rated)
	}
	if level, err := strconv.ParseFloat(exposure[1], 64); err != nil || level > 1.5 {
		t.Errorf("the unit's exposure is %s, at most 1.5 is wanted:\n%s", exposure[1], rated)
	}
}

// TestCompose reads the compose file: a hub and two circles, nothing of them root's or open to the world.
func TestCompose(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Image    string
			Command  []string
			ReadOnly bool     `yaml:"read_only"`
			CapDrop  []string `yaml:"cap_drop"`
			Ports    []string
			Volumes  []string
			Networks map[string]struct {
				Address string `yaml:"ipv4_address"`
			}
		}
		Volumes, Networks map[string]any
	}
	if err := yaml.Unmarshal([]byte(readDeploy(t, "compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	var used, replicas []string
	for name, s := range file.Services {
		if s.Image != "carecircle" || !slices.Equal(s.Command, []string{"serve"}) || !s.ReadOnly ||
			!slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("service %s is %+v", name, s)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") || slices.Contains(used, p) {
				t.Errorf("service %s opens %s to the world, or twice", name, p)
			}
		}
		used = append(used, s.Ports...)
		volume, at, _ := strings.Cut(strings.Join(s.Volumes, ""), ":")
		if _, ok := file.Volumes[volume]; !ok || at != "/data" || volume != name {
			t.Errorf("service %s keeps its data in %v", name, s.Volumes)
		}
		for n := range s.Networks {
			if _, ok := file.Networks[n]; !ok {
				t.Errorf("service %s is on a network %s that is not there", name, n)
			}
		}
		if at := s.Networks["replicas"].Address; at != "" {
			replicas = append(replicas, at)
		}
	}
	if len(file.Services) != 5 || len(file.Volumes) != 5 || len(file.Networks) != 2 {
		t.Errorf("there are %d services, %d volumes", len(file.Services), len(file.Volumes))
	}
	slices.Sort(replicas)
	if replicas = slices.Compact(replicas); len(replicas) != 3 {
		t.Errorf("the replicas are at %v, want three addresses", replicas)
	}
	guide := readDeploy(t, "README.md")
	for _, at := range replicas {
		if !strings.Contains(guide, "--listen "+at+":7201") {
			t.Errorf("README.md makes no replica at %s", at)
		}
	}
}

// TestGuideCommands has the program read every call of it that the guide shows: no flag or word is made up.
func TestGuideCommands(t *testing.T) {
	text := strings.ReplaceAll(readDeploy(t, "README.md"), "\\\n", " ")
	form := regexp.MustCompile(`(?:^|[ (])(?:carecircle|exec \S+ /carecircle|run --rm [a-z-]+) ` +
		`((?:init|join|serve|replica|status|restore|backup|link|do) .*)$`)
	read := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "sudo ") && !strings.HasPrefix(line, "podman ") &&
			!strings.HasPrefix(line, "carecircle ") && !strings.HasPrefix(line, "INVITATION=") {
			continue
		}
		line, _, _ = strings.Cut(strings.TrimSpace(line), "  #")
		call := form.FindStringSubmatch(strings.TrimSuffix(line, ")"))
		if call == nil {
			continue
		}
		read++
		var words []string
		for _, w := range regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`).FindAllString(call[1], -1) {
			words = append(words, strings.Trim(w, `"'`))
		}
		command, rest, err := newRoot().Find(words)
		if err == nil {
			err = command.ParseFlags(rest)
		}
		if err == nil && command.Args != nil {
			err = command.Args(command, command.Flags().Args())
		}
		if err != nil || !command.Runnable() {
			t.Errorf("the guide calls %q: %v", call[1], err)
		}
	}
	if read < 10 {
		t.Errorf("only %d calls found in the guide", read)
	}
}
