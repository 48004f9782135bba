package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/ledger"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/backup"
	"github.com/carecircle/carecircle/node/vault"
)

// backed makes a node whose backups two identities open.
func backed(t *testing.T) (dir string, own, escrow backup.Identity) {
	t.Helper()
	dir = t.TempDir()
	c := config()
	c.Backup, own, escrow = sealedTo(t)
	if err := node.Init(dir, c); err != nil {
		t.Fatal(err)
	}
	return dir, own, escrow
}

// sealedTo makes two identities and the config of backups that both of them open.
func sealedTo(t *testing.T) (c *backup.Config, own, escrow backup.Identity) {
	t.Helper()
	c = &backup.Config{}
	for _, id := range []*backup.Identity{&own, &escrow} {
		x, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		*id = backup.Identity{x}
		c.Recipients = append(c.Recipients, x.Recipient().String())
	}
	return c, own, escrow
}

func do(t *testing.T, n *node.Node, kind string, body any) machine.Outcome {
	t.Helper()
	id, err := api.NewID()
	if err != nil {
		t.Fatal(err)
	}
	c, err := machine.NewCommand(id, machine.Caller{Actor: machine.ActorOperator}, 0, kind, body)
	if err != nil {
		t.Fatal(err)
	}
	out, err := n.Do(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if out.Refusal != nil {
		t.Fatal(out.Refusal)
	}
	return out
}

func earn(t *testing.T, n *node.Node, minutes int64) {
	t.Helper()
	do(t, n, "coin.earn", coin.Earn{Person: n.Founder(), Minutes: minutes, Activity: "garden"})
}

// stateOf is where a node stands and what its books hold for the founder.
type stateOf struct {
	meta    machine.Meta
	hash    machine.Hash
	minutes int64
	epochs  []timeline.Epoch
}

func look(t *testing.T, n *node.Node) stateOf {
	t.Helper()
	var s stateOf
	err := n.Read(func(r machine.Reader) error {
		s.meta, s.hash, s.epochs = machine.ReadMeta(r), machine.StateHash(r), timeline.All(r)
		books := coin.ReadBooks(r)
		if a, ok := books.Account(coin.Book, n.Founder()); ok {
			s.minutes = a.Posted
		}
		report, err := ledger.Audit(books)
		if len(report.Findings) > 0 {
			t.Errorf("audit: %v", report.Findings)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func backUp(t *testing.T, n *node.Node, path string) backup.Manifest {
	t.Helper()
	m, err := backup.WriteFile(t.Context(), path, func(w io.Writer) error {
		_, err := n.Backup(t.Context(), w, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func stop(t *testing.T, n *node.Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

func restoring(file string, id backup.Identity, dir string) node.Restoring {
	return node.Restoring{
		File: file, Identity: id, Dir: dir, Why: "the disk broke", Change: func(*node.Config) {},
		Now: time.Now(), Log: func(string, ...any) {},
	}
}

func restore(t *testing.T, r node.Restoring) node.Restored {
	t.Helper()
	done, err := node.Restore(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// TestRestore backs a node up while commands run, loses it, and restores it: the books are those of the
// backup's index exactly, a new epoch is open once, and the circle goes on from there.
func TestRestore(t *testing.T) {
	dir, own, escrow := backed(t)
	n := start(t, dir)
	for range 20 {
		earn(t, n, 15) // all of it on one day, which has a limit
	}
	var busy sync.WaitGroup
	busy.Go(func() {
		for range 20 {
			do(t, n, "coin.place", coin.AddPlace{Place: "p" + newName(t), Name: "A place"})
		}
	})
	rows := replicaRows(t, n)
	backups := t.TempDir()
	files := []string{}
	var manifests []backup.Manifest
	for _, name := range []string{"a", "b", "c"} { // each with something that the one before has not
		do(t, n, "coin.place", coin.AddPlace{Place: "p" + newName(t), Name: "A place"})
		files = append(files, filepath.Join(backups, name+backup.Suffix))
		manifests = append(manifests, backUp(t, n, files[len(files)-1]))
	}
	busy.Wait()
	stop(t, n)

	pick, m := files[1], manifests[1]
	report, err := backup.Verify(t.Context(), pick, escrow)
	if err != nil || report.Wrong() > 0 || !report.Full {
		t.Fatalf("verify: %+v %v", report, err)
	}
	fresh := filepath.Join(t.TempDir(), "below", "new")
	done := restore(t, restoring(pick, own, fresh))
	if done.Note.Epochs.Newest().Epoch != 1 {
		t.Errorf("note %+v", done.Note)
	}
	for _, name := range []string{"host.key", "store.key", "operator.token", "circle.key"} {
		if same := bytes.Equal(read(t, dir, name), read(t, fresh, name)); same != (name == "circle.key") {
			t.Errorf("%s is the same: %v", name, same)
		}
	}
	seeds, err := filepath.Glob(filepath.Join(fresh, "snapshots", "snapshots", "*", "state.bin"))
	if err != nil || len(seeds) != 1 {
		t.Fatalf("snapshots %v: %v", seeds, err)
	}
	seed := read(t, filepath.Dir(seeds[0]), "state.bin")
	if !bytes.HasPrefix(seed, []byte("age-")) || bytes.Contains(seed, []byte("s/member.")) {
		t.Error("the state as it was put back lies on the disk in clear")
	}
	checkRestored(t, fresh, m, rows)

	// Lost again, before anything was backed up: the same backup is good, the one after it is not.
	if _, err := node.Restore(t.Context(), restoring(files[2], own, t.TempDir())); !errors.Is(err,
		backup.ErrAbandoned) || !strings.Contains(err.Error(), pick) {
		t.Errorf("a backup of the timeline that was left: %v", err)
	}
	again := t.TempDir() // there, and empty
	if done = restore(t, restoring(pick, own, again)); done.Note.Epochs.Newest().Epoch != 2 {
		t.Errorf("note %+v", done.Note)
	}
}

func newName(t *testing.T) string {
	t.Helper()
	id, err := api.NewID()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(id.String(), "-", "")[20:]
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// checkRestored starts a restored node several times and lets it go on.
func checkRestored(t *testing.T, dir string, m backup.Manifest, rows map[string]string) {
	t.Helper()
	seqs := []uint64{}
	for round := range 3 {
		n := start(t, dir)
		s := look(t, n)
		if len(s.epochs) != 1 || s.epochs[0].FromPosition != m.Position || s.epochs[0].FromHead != m.Head ||
			s.epochs[0].Backup != m.ID || s.epochs[0].Why != "the disk broke" {
			t.Fatalf("round %d: epochs %+v", round, s.epochs)
		}
		if s.minutes != 300+60*int64(round) || s.meta.Position != m.Position+1+uint64(round) {
			t.Errorf("round %d: %d minutes at command %d", round, s.minutes, s.meta.Position)
		}
		if round == 0 {
			var before machine.Hash
			err := n.Read(func(r machine.Reader) error {
				before = hashWithoutEpoch(r, rows)
				return nil
			})
			if err != nil || before != m.StateHash {
				t.Errorf("but for the epoch the state is %s, the backup's %s (%v)", before, m.StateHash, err)
			}
		}
		seqs = append(seqs, cardSeq(t, n))
		earn(t, n, 60)
		stop(t, n)
	}
	if seqs[0] <= 1<<32 || seqs[1] <= seqs[0] {
		t.Errorf("cards numbered %v: those of a new epoch count above all before", seqs)
	}
}

// replicaRows is the list of the circle's machines.
func replicaRows(t *testing.T, n *node.Node) map[string]string {
	t.Helper()
	rows := map[string]string{}
	err := n.Read(func(r machine.Reader) error {
		r.Ascend([]byte("s/replicas."), nil, func(key, value []byte) bool {
			rows[string(key)] = string(value)
			return true
		})
		return nil
	})
	if err != nil || len(rows) == 0 {
		t.Fatalf("%d machines: %v", len(rows), err)
	}
	return rows
}

// hashWithoutEpoch is the state hash as it was before the new epoch was opened, with the machines of then.
func hashWithoutEpoch(r machine.Reader, rows map[string]string) machine.Hash {
	tally := machine.NewTally()
	add := func(key, value []byte) bool {
		if !bytes.HasPrefix(key, []byte("s/timeline.")) && !bytes.HasPrefix(key, []byte("s/replicas.")) {
			tally.Add(key, value)
		}
		return true
	}
	r.Ascend([]byte("s/"), []byte("s/"), func(key, value []byte) bool {
		return string(key) < "s/replicas." && add(key, value)
	})
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		tally.Add([]byte(key), []byte(rows[key]))
	}
	r.Ascend([]byte("s/"), []byte("s/replicas."), add)
	return tally.StateHash()
}

func cardSeq(t *testing.T, n *node.Node) uint64 {
	t.Helper()
	sealed, err := charter.ParseText(n.CardText())
	if err != nil {
		t.Fatal(err)
	}
	card, err := charter.OpenCard(sealed)
	if err != nil {
		t.Fatal(err)
	}
	return card.Seq
}

// TestEpochOpensFirst: also when a restored node is only read, the epoch is open before anything else.
func TestEpochOpensFirst(t *testing.T) {
	dir, own, _ := backed(t)
	n := start(t, dir)
	file := filepath.Join(t.TempDir(), "a"+backup.Suffix)
	m := backUp(t, n, file)
	stop(t, n)
	fresh := t.TempDir()
	restore(t, restoring(file, own, fresh))
	n, err := node.OpenStopped(t.Context(), fresh, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s := look(t, n); len(s.epochs) != 1 || s.meta.Position != m.Position+1 {
		t.Errorf("epochs %+v at command %d", s.epochs, s.meta.Position)
	}
	stop(t, n)
	write(t, fresh, "restored.json", "{}")
	if n, err = node.OpenStopped(t.Context(), fresh, node.Options{}); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("with a changed note: %v %v", err, n)
	}
}

// TestRestoreRefuses changes nothing where it cannot go on.
func TestRestoreRefuses(t *testing.T) {
	dir, own, _ := backed(t)
	n := start(t, dir)
	backups := t.TempDir()
	file := filepath.Join(backups, "a"+backup.Suffix)
	backUp(t, n, file)
	stop(t, n)
	_, stranger, _ := backed(t)
	damaged := filepath.Join(t.TempDir(), "b"+backup.Suffix)
	raw := read(t, backups, "a"+backup.Suffix)
	raw[len(raw)/3] ^= 1
	if err := os.WriteFile(damaged, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	full := t.TempDir()
	write(t, full, "letter.txt", "dear all")
	for name, c := range map[string]struct {
		change func(r *node.Restoring)
		says   string
	}{
		"not empty":      {func(r *node.Restoring) { r.Dir = full }, "is not empty"},
		"another circle": {func(r *node.Restoring) { r.Identity = stranger }, "does not open"},
		"damaged":        {func(r *node.Restoring) { r.File = damaged }, "damaged"},
		"no file":        {func(r *node.Restoring) { r.File = file + "x" }, "no such file"},
		"known nowhere":  {func(r *node.Restoring) { r.Known = []string{"/nowhere"} }, "what is known"},
		"bad address": {func(r *node.Restoring) {
			r.Change = func(c *node.Config) { c.HTTP = "nowhere" }
		}, "is not an address"},
	} {
		parent := t.TempDir()
		r := restoring(file, own, filepath.Join(parent, "new"))
		c.change(&r)
		if _, err := node.Restore(t.Context(), r); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		for _, where := range []string{parent, backups} {
			left, err := os.ReadDir(where)
			if err != nil || len(left) > 1 || where == parent && len(left) > 0 {
				t.Errorf("%s: left behind %v %v", name, left, err)
			}
		}
	}
}

// TestBackupNeedsRecipients says what to do.
func TestBackupNeedsRecipients(t *testing.T) {
	n := start(t, makeNode(t))
	defer stop(t, n)
	_, err := n.Backup(t.Context(), io.Discard, nil)
	if err == nil || !strings.Contains(err.Error(), "keygen") {
		t.Errorf("without recipients: %v", err)
	}
	if n.BackupStatus() != nil {
		t.Error("it keeps backups nobody asked for")
	}
	c := config()
	c.Backup = &backup.Config{Recipients: []string{"age1x"}}
	if err := node.Init(t.TempDir(), c); err == nil || !strings.Contains(err.Error(), "at least 2") {
		t.Errorf("with one recipient: %v", err)
	}
}

// TestRestoreUndone: where a restore fails at its very end, nothing of it is left.
func TestRestoreUndone(t *testing.T) {
	dir, own, _ := backed(t)
	n := start(t, dir)
	file := filepath.Join(t.TempDir(), "a"+backup.Suffix)
	backUp(t, n, file)
	stop(t, n)
	inTheWay := strings.TrimSuffix(file, backup.Suffix) + ".epoch-1" + backup.NoteSuffix + ".new.new"
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	empty, absent := t.TempDir(), filepath.Join(t.TempDir(), "new")
	for _, to := range []string{empty, absent} {
		_, err := node.Restore(t.Context(), restoring(file, own, to))
		if err == nil || !strings.Contains(err.Error(), "note of the restore") {
			t.Errorf("into %s: %v", to, err)
		}
	}
	if left, err := os.ReadDir(empty); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if _, err := os.Stat(absent); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	restore(t, restoring(file, own, empty))
}

// TestBackupHoldsItsVault backs up while people are erased, each of which turns the vault: every backup holds
// the key that its own state names, and opens all that is sealed in it.
func TestBackupHoldsItsVault(t *testing.T) {
	c := &canary{t: t, dir: makeNode(t)}
	own := c.keepBackups()
	c.start()
	c.join("Ben")
	var people []string
	for i := range 12 {
		people = append(people, c.join(fmt.Sprint("Person ", i)))
	}
	var erasing sync.WaitGroup
	erasing.Go(func() {
		for _, p := range people {
			c.must(p, "member.erase", member.Erase{Person: p})
		}
	})
	var files []string
	for i := range 12 {
		files = append(files, filepath.Join(t.TempDir(), fmt.Sprint(i)+backup.Suffix))
		backUp(t, c.n, files[i])
	}
	erasing.Wait()
	c.stop()
	versions := map[uint32]bool{}
	for _, file := range files {
		versions[vaultVersionIn(t, file, own)] = true
	}
	if len(versions) < 2 {
		t.Errorf("all backups hold the same key: %v; the test proves nothing", versions)
	}
}

// vaultVersionIn opens a backup, unwraps every person's key in it, and says which key of the vault is in use.
func vaultVersionIn(t *testing.T, file string, id backup.Identity) uint32 {
	t.Helper()
	f, err := backup.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	contents, state, err := f.Unseal(id)
	if err != nil {
		t.Fatal(err)
	}
	rows := machine.NewMem()
	err = f.Manifest.ReadState(state, func(key, value []byte) error {
		rows.Set(key, value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, vault.FileName, string(contents.Secrets[vault.FileName]))
	v, err := vault.Open(&vault.Files{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	now, _ := member.TheVault(rows)
	if _, ok := v.Export(now.Version, now.Mark); !ok {
		t.Errorf("as of command %d the vault's key %d is in use, and not in the backup", f.Manifest.Position,
			now.Version)
	}
	keys := member.KeysUnder(rows, now.Version+1)
	if len(keys) == 0 {
		t.Error("nobody has a key")
	}
	for _, k := range keys {
		if _, err := v.Unwrap(k); err != nil {
			t.Errorf("as of command %d: the key of %s: %v", f.Manifest.Position, k.Person, err)
		}
	}
	return now.Version
}
