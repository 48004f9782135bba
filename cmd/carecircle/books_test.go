package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/ledger"
	"github.com/carecircle/carecircle/node"
)

// balancesOf reads the balances of a stopped node that are not zero, out of its own state.
func balancesOf(t *testing.T, dir string) map[ledger.Account]int64 {
	t.Helper()
	n, err := node.OpenStopped(t.Context(), dir, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[ledger.Account]int64{}
	err = n.Read(func(r machine.Reader) error {
		coin.ReadBooks(r).Accounts(coin.Book, func(a ledger.Account) bool {
			if a.Posted != 0 {
				out[ledger.Account{ID: a.ID, Kind: a.Kind}] = a.Posted
			}
			return true
		})
		return nil
	})
	if err := errors.Join(err, n.Close()); err != nil {
		t.Fatal(err)
	}
	if len(out) < 4 {
		t.Fatalf("%s has %d balances: the test would prove nothing", dir, len(out))
	}
	return out
}

// ask runs another program on a file.
func ask(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is not installed; \"make deps\" installs what the tests need", program)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", program, strings.Join(args, " "), err, out, errs.String())
	}
	return string(out), err
}

// exportTo writes a node's book, and the same with its first change of 60 minutes made 61.
func exportTo(t *testing.T, dir, format string) (book, wrong string) {
	t.Helper()
	text := call(t, "export", "--data", dir, "--format", format)
	book = filepath.Join(t.TempDir(), "book."+format)
	if err := os.WriteFile(book, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(strings.Replace(text, " 60 min = ", " 61 min = ", 1), " 60 MIN\n",
		" 61 MIN\n", 1)
	if changed == text {
		t.Fatalf("there is no change of 60 minutes in\n%s", text)
	}
	wrong = book + ".wrong"
	if err := os.WriteFile(wrong, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return book, wrong
}

// sameBalances reads lines of account and amount, and holds them against the node's own balances.
func sameBalances(t *testing.T, answer string, unit string, want map[string]int64) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(answer)).ReadAll()
	if err != nil {
		t.Fatalf("%v in\n%s", err, answer)
	}
	got := map[string]int64{}
	for _, row := range rows[1:] {
		number, ok := strings.CutSuffix(strings.TrimSpace(row[1]), unit)
		if !ok {
			continue // zero has no unit
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if n != 0 {
			got[strings.TrimSpace(row[0])] = n
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("balances are\n%v, the node has\n%v", got, want)
	}
}

func checkHledger(t *testing.T, dir string, balances map[ledger.Account]int64) {
	t.Helper()
	book, wrong := exportTo(t, dir, "hledger")
	if _, err := ask(t, "hledger", "check", "-f", book); err != nil {
		t.Error(err)
	}
	if _, err := ask(t, "hledger", "check", "-f", wrong); err == nil {
		t.Error("hledger accepts a book with a wrong amount: its assertions assert nothing")
	}
	answer, err := ask(t, "hledger", "bal", "-f", book, "-O", "csv", "--flat", "-N")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{}
	for a, minutes := range balances {
		_, rest, _ := strings.Cut(a.ID, "/")
		switch a.Kind {
		case coin.KindPerson:
			want["people:"+a.ID] = minutes
		case coin.KindPlace:
			want["places:"+rest] = minutes
		case coin.KindCircle:
			want["circles:"+rest] = minutes
		default:
			want[a.ID] = minutes
		}
	}
	sameBalances(t, answer, "min", want)
}

func checkBeancount(t *testing.T, dir string, balances map[ledger.Account]int64) {
	t.Helper()
	book, wrong := exportTo(t, dir, "beancount")
	if out, err := ask(t, "bean-check", book); err != nil || out != "" {
		t.Error(out, err)
	}
	if _, err := ask(t, "bean-check", wrong); err == nil {
		t.Error("bean-check accepts a book with a wrong amount: its assertions assert nothing")
	}
	answer, err := ask(t, "bean-query", "-f", "csv", book, "SELECT account, sum(number) GROUP BY account")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{}
	for a, minutes := range balances {
		_, rest, _ := strings.Cut(a.ID, "/")
		switch a.Kind {
		case coin.KindPerson:
			want["Assets:People:"+strings.ToUpper(a.ID)] = minutes
		case coin.KindPlace:
			want["Assets:Places:Place-"+rest] = minutes
		case coin.KindCircle:
			want["Assets:Circles:"+strings.ToUpper(rest)] = minutes
		case coin.KindIssuance:
			want["Equity:Issuance"] = minutes
		default:
			want["Assets:Pool"] = minutes
		}
	}
	sameBalances(t, answer, "", want)
}

// checkCSV adds up the changes of each account, and holds them and the last balance against the node's own.
func checkCSV(t *testing.T, text string, balances map[ledger.Account]int64) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	sums, last := map[ledger.Account]int64{}, map[ledger.Account]int64{}
	for _, row := range rows[1:] {
		a := ledger.Account{ID: row[6], Kind: row[7]}
		change, err1 := strconv.ParseInt(row[8], 10, 64)
		balance, err2 := strconv.ParseInt(row[9], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		sums[a] += change
		last[a] = balance
		if sums[a] != balance {
			t.Fatalf("entry %s: the changes of %s make %d, the balance says %d", row[0], a.ID, sums[a],
				balance)
		}
	}
	maps.DeleteFunc(last, func(_ ledger.Account, n int64) bool { return n == 0 })
	if !maps.Equal(last, balances) {
		t.Errorf("balances are\n%v, the node has\n%v", last, balances)
	}
}

// checkVerify has the program verify the logs of the demo, whole and with bytes changed.
func checkVerify(t *testing.T, nodes []string) {
	t.Helper()
	args := []string{"verify"}
	var raw []byte
	for _, n := range nodes {
		raw = []byte(call(t, "export", "--data", n))
		path := filepath.Join(t.TempDir(), filepath.Base(n)+".log")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	out := call(t, args...)
	if strings.Count(out, "all is well") != 2 || !strings.Contains(out, "letters agree: true") {
		t.Errorf("verify says\n%s", out)
	}
	lines := bytes.Count(raw, []byte("\n"))
	path := filepath.Join(t.TempDir(), "changed.log")
	for i := 0; i < len(raw); i += max(len(raw)/150, 1) {
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs, code := tryCall("verify", path)
		at := 1 + bytes.Count(raw[:i], []byte("\n"))
		named := strings.Contains(out, fmt.Sprintf("entry %d", at-1)) || at == 1 || at == lines
		if code != exitFound || !named || !strings.Contains(out, "WRONG") || !strings.Contains(errs,
			"wrong") {
			t.Errorf("byte %d in line %d: exit code %d\n%s%s", i, at, code, out, errs)
		}
	}
}
