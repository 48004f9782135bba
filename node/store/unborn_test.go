package store

import (
	"os"
	"path/filepath"
	"testing"
)

// A process killed at the worst moment leaves a write-ahead file that Badger made and gave no size yet.
func TestKilledWhileMakingAFile(t *testing.T) {
	root := t.TempDir()
	cfg := stateConfig(t, filepath.Join(root, "state"))
	s := mustState(t, cfg)
	s.Set([]byte("k"), []byte("v"))
	s.Commit(7)
	must(t, s.Close())
	logs := logConfig(t, filepath.Join(root, "log"))
	l := mustLog(t, logs)
	must(t, l.StoreLogs(entries(1, 3, 1)))
	must(t, l.Close())
	for _, dir := range []string{cfg.Dir, logs.Dir} {
		for _, name := range []string{"00090.mem", "000090.vlog"} {
			must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
	}
	s = mustState(t, cfg)
	if v, ok := s.Get([]byte("k")); !ok || string(v) != "v" || s.Applied() != 7 {
		t.Errorf("the state has %q %t at %d", v, ok, s.Applied())
	}
	must(t, s.Close())
	l = mustLog(t, logs)
	if last, err := l.LastIndex(); last != 3 || err != nil {
		t.Errorf("the log ends at %d: %v", last, err)
	}
	must(t, l.Close())
}
