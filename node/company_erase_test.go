package node_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/backup"
	"github.com/carecircle/carecircle/node/store"
	"github.com/carecircle/carecircle/node/vault"
)

// stateMagic is how node/store marks a state's directory.
const stateMagic = 0xCC01

// canaryAt is the canary's view of one of the machines.
func (c *company) canaryAt(i int, like *canary) *canary {
	at := &canary{t: c.t, dir: c.dirs[i], n: c.nodes[i]}
	if like != nil {
		at.zoe, at.friend = like.zoe, like.friend
	}
	return at
}

// snapshots has every running machine take a snapshot of all there is.
func (c *company) snapshots() {
	c.t.Helper()
	for _, n := range c.nodes {
		if n == nil {
			continue
		}
		if err := n.Fresh(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
		if err := n.TakeSnapshot(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestEraseOnThree types a phrase wherever people can type, at a circle of three, and finds it on none of its
// machines. Then the person is erased while one of them is off and another one joins: nothing on any of the
// four opens what was kept, once the one that was off has been back.
func TestEraseOnThree(t *testing.T) {
	keeps, _, _ := sealedTo(t)
	c := newCompanyKeeping(t, 3, keeps)
	a := c.canaryAt(0, nil)
	a.zoe, a.friend = a.join(phrase+" name"), a.join("Ben")
	a.friendIs()
	a.fill()
	a.must(a.friend, "member.choose", member.Choose{Name: machine.Text("", "Ben"), Seen: true})
	c.snapshots()
	before := backUp(t, c.nodes[0], filepath.Join(c.dirs[0], backup.DefaultDir, "before"+backup.Suffix))
	h := a.grab()
	for i := range 3 {
		at := c.canaryAt(i, a)
		if told := fmt.Sprint(at.look("to see")); !strings.Contains(told, phrase+" note") {
			t.Errorf("replica %d cannot open the note", i)
		}
	}
	c.stop(2)
	done := a.must(a.zoe, "member.erase", member.Erase{Person: a.zoe}).Result.(member.Erased)
	want := []member.Copy{
		{Name: "replica one: before" + backup.Suffix, Made: before.MadeAt, Expires: before.ExpiresAt},
		{Name: "replica r3: whatever it has: it does not answer"},
	}
	slices.SortFunc(done.Copies, func(a, b member.Copy) int { return strings.Compare(a.Name, b.Name) })
	if !slices.Equal(done.Copies, want) {
		t.Errorf("the backups that hold them: %+v, want %+v", done.Copies, want)
	}
	h.wrapped = a.wrappedInLog()
	c.join("r4")
	if holdsOld(t, filepath.Join(c.dirs[2]), h) == 0 {
		t.Error("the machine that was off has no old key: the test proves nothing")
	}
	c.start(2)
	for i := range 4 {
		c.until(fmt.Sprint("replica ", i, " has only the new key"), func() bool {
			_, old := c.nodes[i].Vault().Export(h.vaultKey.Version, h.vaultKey.Mark())
			return !old && c.canaryAt(i, a).vaultVersion() == h.vaultKey.Version+1
		})
		c.canaryAt(i, a).forgotten()
	}
	a.n = c.nodes[2]
	a.erasureIs(true, 1)
	c.snapshots()
	c.stopAll()
	for i := range 4 {
		at := c.canaryAt(i, a)
		if i == 0 {
			at.log.Write([]byte(c.log.String())) //nolint:errcheck // into memory
		}
		at.nothingLeft(h)
		at.everywhere(h)
		if n := holdsOld(t, at.dir, h); n != 0 {
			t.Errorf("replica %d still unwraps %d of the person's keys", i, n)
		}
	}
}

// holdsOld counts the erased person's wrapped keys that a stopped node's vault still opens.
func holdsOld(t *testing.T, dir string, h hand) int {
	t.Helper()
	v, err := vault.Open(&vault.Files{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, k := range h.wrapped {
		if _, err := v.Unwrap(k); err == nil {
			n++
		}
	}
	if len(h.wrapped) == 0 {
		t.Error("no wrapped key is in hand")
	}
	return n
}

// erasureIs asks at one machine how the erasure stands.
func (c *canary) erasureIs(done bool, copies int) {
	c.t.Helper()
	got, err := c.n.View(c.t.Context(), machine.Caller{Actor: c.friend}, "member.erasures", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	e := got.(member.Erasures).Erased
	if len(e) != 1 || e[0].Person != c.zoe || e[0].Done != done || len(e[0].Copies) != copies {
		c.t.Errorf("erasures: %+v, want done %v and %d backups", e, done, copies)
	}
}

// everywhere looks into the stopped node's sealed snapshots and at all versions of its rows, old ones too.
func (c *canary) everywhere(h hand) {
	c.t.Helper()
	forbidden := []string{phrase, string(h.own[:]), string(h.vaultKey.Key[:])}
	look := func(where string, b []byte) {
		for i, word := range forbidden {
			for _, form := range forms(word) {
				if strings.Contains(string(b), string(form)) {
					c.t.Errorf("%s: forbidden word %d is in %s", c.dir, i, where)
				}
			}
		}
	}
	keys, err := node.ReadKeys(&vault.Files{Dir: c.dir})
	if err != nil {
		c.t.Fatal(err)
	}
	snapshots, err := filepath.Glob(filepath.Join(c.dir, "snapshots", "snapshots", "*", "state.bin"))
	if err != nil || len(snapshots) == 0 {
		c.t.Fatalf("%d snapshots in %s: %v", len(snapshots), c.dir, err)
	}
	for _, path := range snapshots {
		into := filepath.Join(c.t.TempDir(), "state")
		f, err := os.Open(path)
		if err != nil {
			c.t.Fatal(err)
		}
		err = store.Restore(store.StateConfig{
			Dir: into, EncryptionKey: keys.Store[:], SnapshotKey: keys.SnapshotKey(),
			Log: slog.New(slog.DiscardHandler),
		}, f)
		f.Close() //nolint:errcheck // only read
		if err != nil {
			c.t.Fatal(err)
		}
		if versions(c.t, into, keys.Store[:], look) == 0 {
			c.t.Errorf("nothing in %s", path)
		}
	}
	if versions(c.t, filepath.Join(c.dir, "state"), keys.Store[:], look) == 0 {
		c.t.Errorf("no rows in %s", c.dir)
	}
}

// versions looks at every version of every row that the tables of a state hold, those of deleted rows too.
func versions(t *testing.T, dir string, key []byte, look func(where string, b []byte)) (seen int) {
	t.Helper()
	db, err := badger.Open(badger.DefaultOptions(dir).WithEncryptionKey(key).WithIndexCacheSize(8 << 20).
		WithExternalMagic(stateMagic).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // only read
	err = db.View(func(txn *badger.Txn) error {
		opt := badger.DefaultIteratorOptions
		opt.AllVersions = true
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			seen++
			item := it.Item()
			where := fmt.Sprintf("version %d of row %q", item.Version(), item.Key())
			err := item.Value(func(value []byte) error {
				look(where, value)
				look(where, item.Key())
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}
