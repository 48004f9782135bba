package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/auth"
)

// TestScripts runs testdata/script: the program as people call it. Beside testscript's own words:
//
//	code N carecircle ...   run it and want exit code N
//	ports                   set $HTTP and $LETTERS to free addresses
//	serve DIR               start the node there and wait until it is up
//	halt                    stop the node served last
//	person DIR NAME         make a person known and sign them in: $NAME is the id, NAME.token the session's
//	big FILE                write a megabyte of JSON
//	recipients DIR FILE...  name the recipients of the node's backups
//	spoil FILE              change a byte in the middle of it
//	enter LINK STATUS       use a sign-in link and want this HTTP status; the answer is in enter.out
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireUniqueNames: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code": wantCode, "ports": setPorts, "serve": scriptServe, "halt": scriptHalt,
			"person": scriptPerson,
			"enter":  scriptEnter, "big": scriptBig, "recipients": scriptRecipients, "spoil": scriptSpoil,
		},
	})
}

func wantCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func setPorts(ts *testscript.TestScript, _ bool, _ []string) {
	for name, before := range map[string]string{"HTTP": "127.0.0.1:", "LETTERS": "/ip4/127.0.0.1/tcp/"} {
		port, err := fixedPort()
		ts.Check(err)
		ts.Setenv(name, before+port)
	}
}

// running is the node each script served last.
var running served

type served struct {
	mu sync.Mutex
	by map[*testscript.TestScript]*process
}

func (s *served) put(ts *testscript.TestScript, p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[*testscript.TestScript]*process{}
	}
	s.by[ts] = p
}

func (s *served) take(ts *testscript.TestScript) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[ts]
}

func scriptServe(ts *testscript.TestScript, _ bool, args []string) {
	self, err := os.Executable()
	ts.Check(err)
	p, err := spawn(self, ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(p.kill)
	select {
	case <-p.ready:
	case <-p.ended:
		ts.Fatalf("the node ended: %s", p.said.String())
	case <-time.After(waitLong):
		ts.Fatalf("the node is not ready: %s", p.said.String())
	}
	cfg, err := node.ReadConfig(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Setenv("NODE", "http://"+cfg.HTTP)
	res, err := http.Get("http://" + cfg.HTTP + "/healthz")
	ts.Check(err)
	ts.Check(res.Body.Close())
	if res.StatusCode != http.StatusOK {
		ts.Fatalf("/healthz answers %s", res.Status)
	}
	running.put(ts, p)
}

func scriptHalt(ts *testscript.TestScript, _ bool, _ []string) {
	p := running.take(ts)
	ts.Check(p.cmd.Process.Signal(os.Interrupt))
	select {
	case <-p.ended:
	case <-time.After(waitLong):
		ts.Fatalf("the node does not stop: %s", p.said.String())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		ts.Fatalf("the node stopped with exit code %d: %s", code, p.said.String())
	}
}

func scriptClient(ts *testscript.TestScript, dir string) *api.Client {
	cfg, err := node.ReadConfig(ts.MkAbs(dir))
	ts.Check(err)
	token, err := node.OperatorToken(ts.MkAbs(dir))
	ts.Check(err)
	return api.NewClient("http://"+cfg.HTTP, token)
}

func scriptPerson(ts *testscript.TestScript, _ bool, args []string) {
	dir, name := args[0], args[1]
	client := scriptClient(ts, dir)
	secret, hash, err := auth.NewSecret()
	ts.Check(err)
	var made member.Made
	_, err = client.Do(context.Background(), "", "", "member.invite", member.Invite{
		Name: machine.Text("", name), Link: hash, Until: time.Now().Add(time.Hour).UnixMilli(),
	}, &made)
	ts.Check(err)
	entered, status := enterBy(ts, client.Base()+"/enter/"+secret)
	var session auth.Entered
	ts.Check(json.Unmarshal(entered, &session))
	if status != http.StatusOK || session.Person != made.Person {
		ts.Fatalf("%s could not sign in: %d %s", name, status, entered)
	}
	ts.Check(os.WriteFile(ts.MkAbs(name+".token"), []byte(session.Token+"\n"), 0o600))
	ts.Setenv(name, made.Person)
}

func enterBy(ts *testscript.TestScript, link string) (answer []byte, status int) {
	base, secret, ok := strings.Cut(strings.TrimSpace(link), "/enter/")
	if !ok {
		ts.Fatalf("%q is not a sign-in link", link)
	}
	body, err := json.Marshal(map[string]string{"link": secret})
	ts.Check(err)
	res, err := http.Post(base+"/api/v1/enter", "application/json", bytes.NewReader(body))
	ts.Check(err)
	var out bytes.Buffer
	_, err = out.ReadFrom(res.Body)
	ts.Check(errors.Join(err, res.Body.Close()))
	return out.Bytes(), res.StatusCode
}

func scriptEnter(ts *testscript.TestScript, _ bool, args []string) {
	answer, status := enterBy(ts, ts.ReadFile(args[0]))
	ts.Check(os.WriteFile(ts.MkAbs("enter.out"), answer, 0o600))
	if strconv.Itoa(status) != args[1] {
		ts.Fatalf("status %d, want %s: %s", status, args[1], answer)
	}
}

func scriptBig(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(`"`+strings.Repeat("a", 1<<20)+`"`), 0o600))
}

// TestKindsAreTheRules holds "carecircle help kinds" against the rule list.
func TestKindsAreTheRules(t *testing.T) {
	m, err := circle.New()
	if err != nil {
		t.Fatal(err)
	}
	printed := call(t, "help", "kinds")
	want := 2 // headings
	for _, r := range m.Rules() {
		want++
		if !strings.Contains(printed, "\n"+r.Kind+" ") || !strings.Contains(printed, r.Doc) {
			t.Errorf("help kinds lacks %s: %s", r.Kind, r.Doc)
		}
	}
	for _, v := range m.Views() {
		want++
		if !strings.Contains(printed, "\n"+v.Name+" ") || !strings.Contains(printed, v.Doc) {
			t.Errorf("help kinds lacks %s: %s", v.Name, v.Doc)
		}
	}
	lines := 0
	for line := range strings.Lines(printed) {
		if strings.TrimSpace(line) != "" {
			lines++
		}
	}
	if lines != want {
		t.Errorf("help kinds has %d lines, the machine makes %d", lines, want)
	}
	var kinds api.Kinds
	if err := json.Unmarshal([]byte(call(t, "kinds", "-o", "json")), &kinds); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(kinds) != fmt.Sprint(api.ListKinds(m)) {
		t.Errorf("kinds -o json has %+v", kinds)
	}
}
