package node_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/store"
	"github.com/carecircle/carecircle/node/vault"
)

// phrase is what must never be found outside a view's answer.
const phrase = "Xylophone-Marmalade"

// canary is a node with one person of whom everything there is to say holds the phrase.
type canary struct {
	t           *testing.T
	dir         string
	log         logged
	options     node.Options
	n           *node.Node
	zoe, friend string
	gift        machine.ID
	outcomes    []machine.Outcome
}

func newCanary(t *testing.T) *canary {
	c := &canary{t: t, dir: makeNode(t)}
	c.start()
	c.zoe, c.friend = c.join(phrase+" name"), c.join("Ben")
	c.friendIs()
	c.fill()
	return c
}

func (c *canary) start() {
	c.t.Helper()
	c.options.Version, c.options.Fatal = "test", func(err error) { c.t.Error(err) }
	c.options.Log = slog.New(slog.NewTextHandler(&c.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	c.n, err = node.Open(c.t.Context(), c.dir, c.options)
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *canary) stop() {
	c.t.Helper()
	if err := c.n.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// try does a command and returns what came of it.
func (c *canary) try(by, kind string, body any) (machine.ID, machine.Outcome) {
	c.t.Helper()
	id, err := api.NewID()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd, err := machine.NewCommand(id, machine.Caller{Actor: by}, 0, kind, body)
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := c.n.Do(c.t.Context(), cmd)
	if err != nil {
		c.t.Fatalf("%s: %v", kind, err)
	}
	c.outcomes = append(c.outcomes, out)
	return id, out
}

func (c *canary) must(by, kind string, body any) machine.Outcome {
	c.t.Helper()
	_, out := c.try(by, kind, body)
	if out.Refusal != nil {
		c.t.Fatalf("%s: %s", kind, out.Refusal.Message)
	}
	return out
}

func hash(text string) machine.Hash { return machine.ChainHash(machine.Hash{}, []byte(text)) }

func (c *canary) join(name string) string {
	c.t.Helper()
	made := c.must(machine.ActorOperator, "member.invite", member.Invite{
		Name: machine.Text("", name), Link: hash(name), Until: time.Now().Add(time.Hour).UnixMilli(),
	}).Result.(member.Made)
	c.must(machine.ActorNode, "member.enter", member.Enter{
		Link: hash(name), Session: hash("session of " + name), Until: time.Now().Add(time.Hour).UnixMilli(),
	})
	return made.Person
}

// friendIs makes the friend one who may look at files and undo.
func (c *canary) friendIs() {
	c.must(machine.ActorOperator, "member.hat-grant", member.GrantHat{
		Person: c.friend, Hat: member.HatCoordinator,
	})
}

// photo begins as a picture does, and holds the phrase.
var photo = append([]byte("\xff\xd8\xff\xe0"), strings.Repeat(phrase+" picture ", 100)...)

// fill types the phrase wherever people can type.
func (c *canary) fill() {
	c.t.Helper()
	say := func(what string) machine.Private { return machine.Text("", phrase+" "+what) }
	c.must(c.zoe, "member.choose", member.Choose{Name: say("name"), Seen: true, Journey: true})
	earned, _ := c.try(c.friend, "coin.earn", coin.Earn{Person: c.zoe, Minutes: 120, Activity: "garden"})
	c.must(c.zoe, "findable.choose", findable.Choose{Card: findable.Choice{
		Name: phrase, Words: phrase + " words", Kinds: []string{phrase}, Skills: []string{phrase},
	}})
	_, asked := c.try(c.zoe, "findable.ask", findable.Ask{
		Circle: string(c.n.Keys.CircleID()), Card: strings.Repeat("ab", 16), Words: say("question"),
	})
	if asked.Refusal == nil || asked.Refusal.Code != "not_shown" {
		c.t.Errorf("asked somebody who shows nothing: %+v", asked)
	}
	c.must(c.zoe, "coin.pay", coin.Pay{To: c.friend, Minutes: 30, Activity: "company", Note: say("note")})
	c.gift, _ = c.try(c.zoe, "coin.give", coin.Give{
		To: coin.Pool, Minutes: 30, Note: say("poem"), Picture: &coin.Picture{Data: photo, Alt: say("alt")},
	})
	_, refused := c.try(c.zoe, "coin.pay", coin.Pay{
		To: c.friend, Minutes: 5000, Activity: "company", Note: say("refused note"),
	})
	if refused.Refusal == nil || !strings.Contains(refused.Refusal.Message, phrase) {
		c.t.Errorf("the refusal does not call the person by name: %+v", refused.Refusal)
	}
	c.must(c.friend, "coin.reverse", coin.Reverse{Transfer: earned, Why: say("why undone")})
	c.must(c.friend, "coin.freeze", coin.Freeze{Account: c.zoe, Frozen: true, Why: say("why stopped")})
	c.must(c.zoe, "member.acting-allow", member.AllowActing{
		Person: c.zoe, Advocate: c.friend, Evidence: say("evidence"),
	})
	c.must(machine.ActorNode, "member.passkey-add", member.AddPasskey{
		Person: c.zoe, ID: []byte("id of the passkey"), Name: say("device"), Stored: say("stored"),
	})
	c.look(phrase + " reason")
}

// overHTTP says the phrase to the API: in a command, in one that is refused, and in no command at all.
func (c *canary) overHTTP() {
	c.t.Helper()
	token, err := node.OperatorToken(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	client := api.NewClient("http://"+c.n.Addr(), token)
	invite := func(name string) error {
		_, err := client.Do(c.t.Context(), "", "", "member.invite", member.Invite{
			Name: machine.Text("", name), Link: hash(name), Until: time.Now().Add(time.Hour).UnixMilli(),
		}, nil)
		return err
	}
	if err := invite(phrase + " over HTTP"); err != nil {
		c.t.Fatal(err)
	}
	for _, name := range []string{phrase + " over HTTP", phrase + strings.Repeat("x", 50)} {
		if err := invite(name); err == nil {
			c.t.Errorf("%q was taken", name)
		}
	}
	_, err = client.Do(c.t.Context(), "", "", phrase, map[string]string{phrase: phrase}, nil)
	if err == nil {
		c.t.Error("the phrase is a command")
	}
}

// look has the friend read all that is kept about Zoe, for a reason.
func (c *canary) look(reason string) member.File {
	c.t.Helper()
	got, err := c.n.View(c.t.Context(), machine.Caller{Actor: c.friend}, "member.file", func(q any) error {
		*q.(*member.FileQuery) = member.FileQuery{Person: c.zoe, Reason: reason}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return got.(member.File)
}

// places returns where the phrase shows: in files, rows, log entries, answers, log lines and exports.
func (c *canary) places() []string {
	c.t.Helper()
	var found []string
	look := func(where string, b []byte) {
		for _, form := range forms(phrase) {
			if bytes.Contains(b, form) {
				found = append(found, where)
				return
			}
		}
	}
	look("log lines", []byte(c.log.String()))
	for _, out := range c.outcomes {
		raw, err := json.Marshal(out.Result)
		if err != nil {
			c.t.Fatal(err)
		}
		look("result of "+out.Kind, raw)
	}
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		look("file "+path[len(c.dir):], raw)
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.rows(look)
	c.entries(look)
	return found
}

// decode reads a body.
func decode(raw []byte, v any) error { return cbor.Unmarshal(raw, v) }

// forms returns the phrase as codecs may have written it: plain, hexadecimal, base64 wherever it begins.
func forms(word string) [][]byte {
	out := [][]byte{[]byte(word), []byte(hex.EncodeToString([]byte(word)))}
	for shift := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte("xyz"[:shift] + word))
		out = append(out, []byte(text[4:len(text)-4]))
	}
	return out
}

func storeKey(t *testing.T, dir string, m vault.Master) []byte {
	t.Helper()
	files, err := vault.OpenFiles(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := node.ReadKeys(files)
	if err != nil {
		t.Fatal(err)
	}
	return keys.Store[:]
}

// rows looks at every row of the stopped node's state, decrypted: tables, journal, answers, events.
func (c *canary) rows(look func(where string, b []byte)) {
	c.t.Helper()
	state, err := store.OpenState(store.StateConfig{
		Dir: filepath.Join(c.dir, "state"), EncryptionKey: storeKey(c.t, c.dir, vault.Master{}),
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	defer state.Close() //nolint:errcheck // only read
	state.Ascend(nil, nil, func(key, value []byte) bool {
		look(fmt.Sprintf("row %q", key), value)
		look(fmt.Sprintf("key of row %q", key), key)
		return true
	})
	snap, err := state.Snapshot()
	if err != nil {
		c.t.Fatal(err)
	}
	defer snap.Close()
	var b bytes.Buffer
	if _, err := snap.WriteTo(&b); err != nil {
		c.t.Fatal(err)
	}
	look("snapshot", b.Bytes())
}

// entries looks at every entry of the stopped node's raft log, decrypted.
func (c *canary) entries(look func(where string, b []byte)) {
	c.t.Helper()
	log, err := store.OpenLog(store.LogConfig{
		Dir: filepath.Join(c.dir, "log"), EncryptionKey: storeKey(c.t, c.dir, vault.Master{}),
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // only read
	first, err := log.FirstIndex()
	if err != nil {
		c.t.Fatal(err)
	}
	last, err := log.LastIndex()
	if err != nil || last < first+10 {
		c.t.Fatalf("the log goes from %d to %d: %v", first, last, err)
	}
	for index := first; index <= last; index++ {
		look(fmt.Sprint("log entry ", index), dataOf(c.t, log.GetLog, index))
	}
}

// dataOf reads the data of an entry, whose type belongs to the log's library.
func dataOf[E any](t *testing.T, get func(uint64, *E) error, index uint64) []byte {
	t.Helper()
	var e E
	if err := get(index, &e); err != nil {
		t.Fatal(err)
	}
	return reflect.ValueOf(e).FieldByName("Data").Bytes()
}

// TestCanary types a phrase wherever people can type, and finds it nowhere but in the answers of views.
func TestCanary(t *testing.T) {
	c := newCanary(t)
	c.overHTTP()
	told := fmt.Sprint(c.look(phrase + " reason"))
	for _, what := range []string{
		"name", "note", "poem", "alt", "why undone", "why stopped", "evidence", "device", "reason",
	} {
		if !strings.Contains(told, phrase+" "+what) {
			t.Errorf("who may read it does not get the %s any more", what)
		}
	}
	for _, format := range []string{"log", "hledger", "beancount", "csv"} {
		var b bytes.Buffer
		if err := c.n.Export(&b, format); err != nil || b.Len() == 0 {
			t.Fatalf("export %s: %v", format, err)
		}
		for _, form := range forms(phrase) {
			if bytes.Contains(b.Bytes(), form) {
				t.Errorf("the export as %s shows the phrase", format)
			}
		}
	}
	status, err := json.Marshal(c.n.Status())
	if err != nil || bytes.Contains(status, []byte(phrase)) {
		t.Errorf("status shows the phrase (%v)", err)
	}
	c.stop()
	for _, place := range c.places() {
		t.Errorf("the phrase is in %s", place)
	}
	c.start() // what is sealed opens again after a start
	if got := fmt.Sprint(c.look("to see")); !strings.Contains(got, phrase+" note") {
		t.Error("after a start the note cannot be read")
	}
	c.stop()
}

// TestRetryOfSealed sends the same words with the same id again: recognised, though they were sealed twice.
func TestRetryOfSealed(t *testing.T) {
	c := newCanary(t)
	id, err := api.NewID()
	if err != nil {
		t.Fatal(err)
	}
	send := func(name string) machine.Outcome {
		t.Helper()
		cmd, err := machine.NewCommand(id, machine.Caller{Actor: c.zoe}, 0, "member.choose",
			member.Choose{Name: machine.Text("", name)})
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.n.Do(context.Background(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := send("Zoe"); out.Refusal != nil || out.Repeated {
		t.Fatalf("%+v", out)
	}
	if out := send("Zoe"); out.Refusal != nil || !out.Repeated {
		t.Errorf("the retry was not recognised: %+v", out)
	}
	if out := send("Zara"); out.Refusal == nil || out.Refusal.Code != "id_reused" {
		t.Errorf("other words under the same id: %+v", out)
	}
	c.stop()
}

// TestNoKeyForTheRefused: who may not do a command does not get keys made with it.
func TestNoKeyForTheRefused(t *testing.T) {
	c := newCanary(t)
	position := func() (p uint64) {
		err := c.n.Read(func(r machine.Reader) error {
			p = machine.ReadMeta(r).Position
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	before := position()
	_, out := c.try(c.zoe, "member.invite", member.Invite{
		Name: machine.Text("", "Nobody"), Link: hash("nobody"), Until: time.Now().Add(time.Hour).UnixMilli(),
	})
	if out.Refusal == nil || out.Refusal.Code != "hat_missing" || position() != before {
		t.Errorf("%+v; the log went from %d to %d", out.Refusal, before, position())
	}
	c.stop()
}

// TestSealTwice leaves what is sealed as it is: a command may pass two replicas' edges.
func TestSealTwice(t *testing.T) {
	c := newCanary(t)
	for kind, body := range map[string]any{
		"coin.give": coin.Give{
			To: coin.Pool, Minutes: 1, Note: machine.Text("", "a poem"),
			Picture: &coin.Picture{Data: photo, Alt: machine.Text("", "a garden")},
		},
		"exchange.pay": exchange.Pay{Circle: "c", Code: "IRENE222", Minutes: 1},
	} {
		cmd, err := machine.NewCommand(machine.ID{9}, machine.Caller{Actor: c.zoe}, 0, kind, body)
		if err != nil {
			t.Fatal(err)
		}
		once, err := c.n.SealCommand(t.Context(), cmd)
		if err != nil || bytes.Equal(once.Body, cmd.Body) {
			t.Fatalf("%s was not sealed: %v", kind, err)
		}
		twice, err := c.n.SealCommand(t.Context(), once)
		if err != nil || !bytes.Equal(twice.Body, once.Body) {
			t.Errorf("%s was sealed again: %v", kind, err)
		}
	}
	c.stop()
}

func BenchmarkSealCommand(b *testing.B) {
	dir := b.TempDir()
	if err := node.Init(dir, config()); err != nil {
		b.Fatal(err)
	}
	n, err := node.Open(b.Context(), dir, node.Options{Version: "test"})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close() //nolint:errcheck // it is thrown away
	id, err := api.NewID()
	if err != nil {
		b.Fatal(err)
	}
	cmd, err := machine.NewCommand(id, machine.Caller{Actor: n.Founder()}, 0, "coin.pay", coin.Pay{
		To: "somebody", Minutes: 60, Activity: "company",
		Note: machine.Text("", "Thank you for the afternoon."),
	})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := n.SealCommand(b.Context(), cmd); err != nil {
			b.Fatal(err)
		}
	}
}
