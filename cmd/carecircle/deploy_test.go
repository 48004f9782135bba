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
			Networks []string
		}
		Volumes, Networks map[string]any
	}
	if err := yaml.Unmarshal([]byte(readDeploy(t, "compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	var used []string
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
	}
	if len(file.Services) != 5 || len(file.Volumes) != 5 || len(file.Networks) != 1 {
		t.Errorf("there are %d services, %d volumes", len(file.Services), len(file.Volumes))
	}
}
