package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/backup"
	"github.com/carecircle/carecircle/node/vault"
)

// others are the replicas a node hands its vault's keys to, or fails to reach.
type others struct {
	down bool
	held []vault.Entry
}

func (o *others) Distribute(_ context.Context, e vault.Entry) error {
	if o.down {
		return errors.New("nobody is there")
	}
	o.held = append(o.held, e)
	return nil
}

func (o *others) Fetch(_ context.Context, version uint32, mark machine.Hash) (vault.Entry, error) {
	for _, e := range o.held {
		if e.Version == version && e.Mark() == mark {
			return e, nil
		}
	}
	return vault.Entry{}, errors.New("nobody has it")
}

// hand is all that somebody could hold who wants the erased person back: the keys as they were before, and
// every wrapped key that ever stood in the log.
type hand struct {
	vaultKey vault.Entry
	own      vault.Secret
	note     machine.Private
	wrapped  []member.Key
}

// grab takes the person's keys while they still open something.
func (c *canary) grab() hand {
	c.t.Helper()
	var h hand
	err := c.n.Read(func(r machine.Reader) error {
		now, _ := member.TheVault(r)
		h.vaultKey, _ = c.n.Vault().Export(now.Version, now.Mark)
		k, _ := member.KeyOf(r, c.zoe)
		var err error
		if h.own, err = c.n.Vault().Unwrap(k); err != nil {
			return err
		}
		p, _ := member.Find(r, c.zoe)
		h.note = p.Name
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if b, err := vault.OpenText(h.own, h.note); err != nil || !strings.Contains(string(b), phrase) {
		c.t.Fatalf("with the person's key the name does not open: %q, %v", b, err)
	}
	return h
}

// wrappedInLog collects every wrapped key of the person that a command in the journal carries.
func (c *canary) wrappedInLog() []member.Key {
	c.t.Helper()
	var out []member.Key
	err := c.n.Read(func(r machine.Reader) error {
		machine.Journal(r, 1, func(_ uint64, raw []byte) bool {
			cmd, err := machine.DecodeCommand(raw)
			if err != nil {
				c.t.Error(err)
				return false
			}
			var one member.AddKey
			var many member.SetVault
			switch cmd.Kind {
			case "member.key":
				err = decode(cmd.Body, &one)
				many.Keys = []member.Key{{Person: one.Person, Version: one.Version, Wrapped: one.Wrapped}}
			case "member.vault":
				err = decode(cmd.Body, &many)
			}
			if err != nil {
				c.t.Error(err)
			}
			for _, k := range many.Keys {
				if k.Person == c.zoe {
					out = append(out, k)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func (c *canary) vaultVersion() uint32 {
	c.t.Helper()
	var now member.Vault
	err := c.n.Read(func(r machine.Reader) error {
		now, _ = member.TheVault(r)
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return now.Version
}

// nothingLeft looks, with every file, the store's key and the vault in hand, for a way back to the person.
func (c *canary) nothingLeft(h hand) {
	c.t.Helper()
	files, err := vault.OpenFiles(c.dir, vault.Master{})
	if err != nil {
		c.t.Fatal(err)
	}
	v, err := vault.Open(files)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, k := range h.wrapped {
		if _, err := v.Unwrap(k); err == nil {
			c.t.Error("a wrapped key from the log unwraps with what is left in the vault")
		}
	}
	look := func(where string, b []byte) {
		for what, key := range map[string]vault.Secret{"vault's": h.vaultKey.Key, "person's": h.own} {
			for _, form := range forms(string(key[:])) {
				if bytes.Contains(b, form) {
					c.t.Errorf("the %s old key is in %s", what, where)
				}
			}
		}
	}
	err = filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		look(path, raw)
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	left, err := files.Read(vault.FileName)
	if err != nil {
		c.t.Fatal(err)
	}
	look("the opened vault", left)
	c.rows(look)
	c.entries(look)
	for _, place := range c.places() {
		c.t.Errorf("the phrase is in %s", place)
	}
}

// forgotten asks what others see now of who was erased, and whether all else is as it was.
func (c *canary) forgotten() {
	c.t.Helper()
	views := []string{"member.list", "member.events", "coin.statement", "coin.overview", "coin.journey"}
	for _, name := range views {
		got, err := c.n.View(c.t.Context(), machine.Caller{Actor: c.friend}, name, nil)
		if err != nil {
			c.t.Fatalf("%s: %v", name, err)
		}
		if strings.Contains(fmt.Sprintf("%+v", got), phrase) {
			c.t.Errorf("%s still shows them", name)
		}
		switch got := got.(type) {
		case coin.Overview:
			if got.SumMinutes != 0 {
				c.t.Errorf("the book is off by %d", got.SumMinutes)
			}
		case coin.Statement:
			if got.Lines[len(got.Lines)-1].OtherName != member.Gone {
				c.t.Errorf("the statement calls them %q", got.Lines[len(got.Lines)-1].OtherName)
			}
		case member.People:
			if !slices.ContainsFunc(got.People, func(p member.Listed) bool { return p.Name == "Ben" }) {
				c.t.Errorf("the others are not called by name any more: %+v", got.People)
			}
		}
	}
}

// TestErase leaves nothing of a person in any file, and everybody else as they were.
func TestErase(t *testing.T) {
	c := newCanary(t)
	c.must(c.friend, "member.choose", member.Choose{Name: machine.Text("", "Ben"), Seen: true})
	h := c.grab()
	done := c.must(c.zoe, "member.erase", member.Erase{Person: c.zoe}).Result.(member.Erased)
	if done.Person != c.zoe || len(done.Copies) != 0 || done.InClear || c.vaultVersion() != 2 {
		t.Errorf("erased %+v; the vault stands at %d", done, c.vaultVersion())
	}
	if h.wrapped = c.wrappedInLog(); len(h.wrapped) != 1 {
		t.Errorf("%d wrapped keys of theirs in the log", len(h.wrapped))
	}
	c.forgotten()
	until := time.Now().Add(time.Hour).UnixMilli()
	for kind, body := range map[string]any{
		"coin.pay":      coin.Pay{To: c.zoe, Minutes: 10, Activity: "company"},
		"member.link":   member.Link{Person: c.zoe, Link: hash("again"), Until: until},
		"member.choose": member.Choose{Name: machine.Text("", phrase)},
	} {
		by := c.friend
		if kind == "member.choose" {
			by = c.zoe
		}
		if _, out := c.try(by, kind, body); out.Refusal == nil {
			t.Errorf("%s is done for who was erased", kind)
		}
	}
	c.stop()
	c.nothingLeft(h)
	c.start()
	c.forgotten()
	c.stop()
}

// TestEraseResumes answers an erasure while the other replicas cannot be reached: the old key stays until
// they hold the new one, and no longer.
func TestEraseResumes(t *testing.T) {
	c := newCanary(t)
	c.must(c.friend, "member.choose", member.Choose{Name: machine.Text("", "Ben"), Seen: true})
	h := c.grab()
	c.stop()
	rest := &others{down: true, held: []vault.Entry{h.vaultKey}}
	node.SetOthers(&c.options, rest)
	c.keepBackups()
	c.start()
	last := backUp(t, c.n, filepath.Join(c.dir, backup.DefaultDir, "last"+backup.Suffix))
	done := c.must(c.zoe, "member.erase", member.Erase{Person: c.zoe}).Result.(member.Erased)
	if len(done.Copies) != 1 || done.Copies[0].Name != "last"+backup.Suffix ||
		done.Copies[0].Made != last.MadeAt || done.Copies[0].Expires != last.ExpiresAt {
		t.Errorf("the backups that hold them: %+v", done.Copies)
	}
	if c.vaultVersion() != 1 {
		t.Error("the log names a key that nobody else holds")
	}
	if _, ok := c.n.Vault().Export(1, h.vaultKey.Mark()); !ok {
		t.Error("the old key is gone before the new one is in use")
	}
	c.erasureIs(false, 1)
	if err := c.n.TendVault(t.Context()); err == nil {
		t.Error("nobody is told that the erasure is not finished")
	}
	c.stop()
	rest.down = false
	c.start()
	if err := c.n.TendVault(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.erasureIs(true, 1)
	if len(rest.held) != 2 || rest.held[1].Version != 2 {
		t.Errorf("the others hold %+v", rest.held)
	}
	if err := c.n.Vault().Import(h.vaultKey); err != nil { // as where a crash came before it was destroyed
		t.Fatal(err)
	}
	if err := c.n.TendVault(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wrapped = c.wrappedInLog()
	c.stop()
	c.nothingLeft(h)

	if err := os.Remove(filepath.Join(c.dir, vault.FileName)); err != nil { // as on a replica that was away
		t.Fatal(err)
	}
	c.start()
	if err := c.n.TendVault(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.forgotten()
	c.stop()
}

// keepBackups has the stopped node make backups when it is asked, and returns who opens them.
func (c *canary) keepBackups() backup.Identity {
	c.t.Helper()
	cfg, err := node.ReadConfig(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	var own backup.Identity
	cfg.Backup, own, _ = sealedTo(c.t)
	raw, err := json.Marshal(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	write(c.t, c.dir, "config.json", string(raw))
	return own
}

// TestEraseOfMany carries more keys over than fit one command.
func TestEraseOfMany(t *testing.T) {
	c := &canary{t: t, dir: makeNode(t)}
	c.start()
	c.zoe = c.join("Zoe")
	h := c.grabAny()
	key := vault.NewSecret()
	for i := range member.MaxKeysAtOnce + 1 {
		k := vault.Wrap(h, fmt.Sprint("p", i), key)
		c.must(machine.ActorNode, "member.key", member.AddKey{
			Person: k.Person, Version: k.Version, Wrapped: k.Wrapped,
		})
	}
	c.must(c.zoe, "member.erase", member.Erase{Person: c.zoe})
	err := c.n.Read(func(r machine.Reader) error {
		if n := len(member.KeysUnder(r, 2)); n != 0 {
			t.Errorf("%d people's keys are still under the old one", n)
		}
		for i := range member.MaxKeysAtOnce + 1 {
			k, _ := member.KeyOf(r, fmt.Sprint("p", i))
			if got, err := c.n.Vault().Unwrap(k); err != nil || got != key || k.Version != 2 {
				return fmt.Errorf("person %d of version %d: %w", i, k.Version, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, ok := c.n.Vault().Export(1, h.Mark()); ok {
		t.Error("the old key of the vault is still there")
	}
	c.stop()
}

// grabAny returns the vault's key in use.
func (c *canary) grabAny() vault.Entry {
	c.t.Helper()
	var e vault.Entry
	err := c.n.Read(func(r machine.Reader) error {
		now, _ := member.TheVault(r)
		e, _ = c.n.Vault().Export(now.Version, now.Mark)
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

// TestLooks refuses a look without a reason, writes one down before it answers, and tells the person.
func TestLooks(t *testing.T) {
	c := newCanary(t)
	ask := func(by, person, reason string) (any, error) {
		return c.n.View(t.Context(), machine.Caller{Actor: by}, "member.file", func(q any) error {
			*q.(*member.FileQuery) = member.FileQuery{Person: person, Reason: reason}
			return nil
		})
	}
	var refusal *machine.Error
	if _, err := ask(c.friend, c.zoe, " "); !errors.As(err, &refusal) || refusal.Code != "reason_missing" {
		t.Errorf("without a reason: %v", err)
	}
	if _, err := ask(c.zoe, c.friend, "nosy"); !errors.As(err, &refusal) || refusal.Code != "not_allowed" {
		if refusal == nil || refusal.Code != "hat_missing" {
			t.Errorf("a member looks at somebody else: %v", err)
		}
	}
	if _, err := ask(c.zoe, "", ""); err != nil {
		t.Errorf("one's own file: %v", err)
	}
	got, err := c.n.View(t.Context(), machine.Caller{Actor: c.zoe}, "member.looks", nil)
	if err != nil {
		t.Fatal(err)
	}
	looks := got.(member.Looks).Looks
	if len(looks) != 1 || looks[0].Reason != phrase+" reason" || looks[0].By != "Ben" {
		t.Errorf("who looked: %+v", looks)
	}
	// There is no way around the line: the view itself wants it written down.
	err = c.n.Read(func(r machine.Reader) error {
		by := machine.Caller{Actor: machine.ActorOperator}
		rd := machine.Read{Reader: r, Caller: by, Now: time.Now().UnixMilli()}
		_, err := c.n.Machine().View(rd, "member.file", func(q any) error {
			*q.(*member.FileQuery) = member.FileQuery{Person: c.zoe, Reason: "unwritten"}
			return nil
		})
		return err
	})
	if !errors.As(err, &refusal) || refusal.Code != "reason_missing" {
		t.Errorf("a look that was not written down: %v", err)
	}
	c.stop()
}

var _ node.Others = (*others)(nil)
