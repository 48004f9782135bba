package store

import (
	"os"
	"path/filepath"
	"testing"
)

// A process killed at the worst moment leaves a write-ahead file that Badger made and gave no size yet.
func TestKilledWhileMakingAFile(t *testing.T) {
	cfg := stateConfig(t, filepath.Join(t.TempDir(), "state"))
	s := mustState(t, cfg)
	s.Set([]byte("k"), []byte("v"))
	s.Commit(7)
	must(t, s.Close())
	for _, name := range []string{"00090.mem", "000090.vlog"} {
		must(t, os.WriteFile(filepath.Join(cfg.Dir, name), nil, 0o600))
	}
	s = mustState(t, cfg)
	if v, ok := s.Get([]byte("k")); !ok || string(v) != "v" || s.Applied() != 7 {
		t.Errorf("the state has %q %t at %d", v, ok, s.Applied())
	}
	must(t, s.Close())
}
