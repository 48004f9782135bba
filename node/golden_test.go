package node_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node"
)

// Directories that earlier formats left, one archive each: what they held is here.
var golden = []struct {
	name     string
	position uint64
	head     string
	minutes  map[string]int64
}{
	// The log in Badger. Killed, with entries that the state on disk had not got yet.
	{
		"format1-killed", 18, "0cb133bececca9d6f7cc3c5bd5397a703aa456c45c5ae27dacbf5fb8c10f490b",
		map[string]int64{"Alice": 690, "Bob": 589, "Chandra": 555, "the circle": -1834, "the pool": 0},
	},
	// The same closed, with a snapshot that is not sealed.
	{
		"format1-closed", 14, "3c8b0b8e268e5b0419d7bdd1ea0655f8ef726b791bc42986dc150c8b8ff0422c",
		map[string]int64{"Alice": 690, "Bob": 555, "Chandra": 555, "the circle": -1800, "the pool": 0},
	},
	// The log in segments, and rows that count up in strips. Killed, with an entry that only the log has.
	{
		"format2-killed", 24, "1ba3221ce36c38bef4e03fef4f45773aa02c57e72eb8e728af55e3cbdb535091",
		map[string]int64{"Farida": 118, "the circle": -118, "the pool": 0, "The garden": 0},
	},
	// The same closed, with rows behind the newest snapshot.
	{
		"format2-closed", 24, "e795c8fa32b6f8e1889fe52b224e9d3c42da1acbba7e8e090eef7cbd3fae5ce0",
		map[string]int64{"Farida": 118, "the circle": -118, "the pool": 0, "The garden": 0},
	},
}

// TestGoldenDirectories opens what earlier formats left, as it was and once more as it is then.
func TestGoldenDirectories(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			dir := unpack(t, g.name)
			for range 2 {
				o := node.Options{Fatal: func(err error) { t.Error(err) }}
				n, err := node.OpenStopped(t.Context(), dir, o)
				if err != nil {
					t.Fatal(err)
				}
				err = n.Read(func(r machine.Reader) error {
					m := machine.ReadMeta(r)
					if m.Position != g.position || m.Head.String() != g.head {
						t.Errorf("the head is %d %s, want %d %s", m.Position, m.Head, g.position, g.head)
					}
					var head machine.Hash
					machine.Journal(r, 0, func(_ uint64, raw []byte) bool {
						head = machine.ChainHash(head, raw)
						return true
					})
					if head != m.Head {
						t.Errorf("the journal makes the head %s, not %s", head, m.Head)
					}
					return nil
				})
				minutes, err2 := balances(t.Context(), n)
				if err := errors.Join(err, err2, n.Close()); err != nil {
					t.Fatal(err)
				}
				for name, want := range g.minutes {
					if got, ok := minutes[name]; !ok || got != want {
						t.Errorf("%s has %d minutes (%t), want %d", name, got, ok, want)
					}
				}
				if len(minutes) != len(g.minutes) {
					t.Errorf("accounts %v", minutes)
				}
			}
			left, err := filepath.Glob(filepath.Join(dir, "log*", "*.vlog"))
			if len(left) != 0 || err != nil {
				t.Errorf("of the old log there is %v: %v", left, err)
			}
		})
	}
}

func balances(ctx context.Context, n *node.Node) (map[string]int64, error) {
	got, err := n.View(ctx, machine.Caller{Actor: machine.ActorOperator}, "coin.overview", nil)
	if err != nil {
		return nil, err
	}
	minutes := map[string]int64{}
	for _, a := range got.(coin.Overview).Accounts {
		minutes[a.Name] = a.Minutes
	}
	return minutes, nil
}

// unpack writes an archive out. Badger's files are long and mostly holes, and stay so.
func unpack(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for files := tar.NewReader(unzipped); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			_, dir, _ := strings.Cut(name, "-")
			return filepath.Join(root, dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			err = writeSparse(path, files, h)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func writeSparse(path string, from io.Reader, h *tar.Header) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, h.FileInfo().Mode())
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	for at := int64(0); err == nil; {
		var n int
		n, err = io.ReadFull(from, block)
		if len(bytes.Trim(block[:n], "\x00")) > 0 {
			if _, err := out.WriteAt(block[:n], at); err != nil {
				return errors.Join(err, out.Close())
			}
		}
		at += int64(n)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = out.Truncate(h.Size)
	}
	return errors.Join(err, out.Close())
}
