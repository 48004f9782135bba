package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestStories runs testdata/*.txt. A story is a list of commands, each with its answer; -rewrite writes the
// answers.
//
//	open, amend    one account a line: BOOK ID KIND FLOOR CEILING [STATE]; limits may be [-]unlimited
//	apply          one transfer a line, all lines one group: ID OP BOOK [of=ID] [ACCOUNT-10 ACCOUNT+10 ...]
//	               [reason=..] [ref=..] [effective=..]; the ID - is none
//	accounts BOOK, record ID, audit, at MS (sets the clock; it goes up by 1000 for each command)
//	statement BOOK ACCOUNT [from=N] [limit=N] [back], balance BOOK ACCOUNT SEQ
//
// {x*65} is x 65 times, {sp} a blank. After every refusal the store is compared with what it was.
func TestStories(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			s := &story{store: NewMem()}
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				return s.run(t, d)
			})
		})
	}
}

// TestStoriesNameEveryCode keeps a story for each refusal there is.
func TestStoriesNameEveryCode(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	var all []byte
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	for _, code := range Codes {
		if !bytes.Contains(all, []byte("refused "+string(code)+" ")) {
			t.Errorf("no story is refused with %s", code)
		}
	}
	if !slices.IsSorted(Codes) || len(slices.Compact(slices.Clone(Codes))) != len(Codes) {
		t.Errorf("Codes is not sorted, or has one twice: %v", Codes)
	}
}

type story struct {
	store *Mem
	clock int64
	names []string // name1, hex1, name2, hex2, ...: to write ids as the story does
}

func (s *story) run(t *testing.T, d *datadriven.TestData) string {
	s.clock += 1000
	var args []string
	for _, a := range d.CmdArgs {
		args = append(args, a.String())
	}
	before := dump(s.store)
	var out strings.Builder
	var err error
	switch d.Cmd {
	case "at":
		s.clock = number(t, args[0])
		return "ok"
	case "open", "amend":
		err = s.accountsCommand(t, d, &out)
	case "apply":
		err = s.apply(t, d, &out)
	case "accounts":
		s.store.Accounts(args[0], func(a Account) bool {
			fmt.Fprintf(&out, "%s: %d (held out %d, in %d; available %d, pending %d) %s %s, "+
				"%d to %d, %d lines\n",
				a.ID, a.Posted, a.HeldOut, a.HeldIn, a.Available(), a.Pending(), a.State, a.Kind,
				a.Floor, a.Ceiling, a.Lines)
			return true
		})
	case "record":
		r, ok := s.store.Record(s.id(args[0]))
		fmt.Fprintf(&out, "%t: entry %d, %s, %s, closed by %s\n", ok, r.Seq, r.Op, r.Status, r.Closed)
	case "statement":
		s.statement(t, args, &out)
	case "balance":
		l, ok := BalanceAt(s.store, args[0], args[1], uint64(number(t, args[2])))
		fmt.Fprintf(&out, "%t: %d (held out %d, in %d) since entry %d\n",
			ok, l.Posted, l.HeldOut, l.HeldIn, l.Seq)
	case "audit":
		s.audit(&out)
	default:
		t.Fatalf("%s: no command %s", d.Pos, d.Cmd)
	}
	var r *Refusal
	if errors.As(err, &r) {
		refused(&out, r)
	} else if err != nil {
		fmt.Fprintf(&out, "failed: %v\n", err)
	}
	if err != nil && dump(s.store) != before && d.Cmd == "apply" {
		t.Errorf("%s: refused, but the store changed", d.Pos)
	}
	return strings.NewReplacer(s.names...).Replace(out.String())
}

func refused(out *strings.Builder, r *Refusal) {
	fmt.Fprintf(out, "refused %s ", r.Code)
	if r.Index >= 0 {
		fmt.Fprintf(out, "#%d ", r.Index)
	}
	if r.Account != "" {
		fmt.Fprintf(out, "(%s) ", r.Account)
	}
	fmt.Fprintf(out, "%s", r.Message)
	if r.Have != 0 || r.Limit != 0 || r.Want != 0 {
		fmt.Fprintf(out, " [have %d, limit %d, want %d]", r.Have, r.Limit, r.Want)
	}
	out.WriteString("\n")
}

// accountsCommand opens or amends line by line, and says of each how it went.
func (s *story) accountsCommand(t *testing.T, d *datadriven.TestData, out *strings.Builder) error {
	for _, line := range strings.Split(d.Input, "\n") {
		f := fields(line)
		spec := AccountSpec{Book: f[0], ID: f[1], Kind: f[2], State: StateOpen}
		spec.Floor, spec.Ceiling = number(t, f[3]), number(t, f[4])
		if len(f) > 5 {
			if err := spec.State.UnmarshalText([]byte(f[5])); err != nil {
				spec.State = 9
			}
		}
		head, before := s.store.Head(), dump(s.store)
		do := Open
		if d.Cmd == "amend" {
			do = Amend
		}
		err := do(s.store, s.clock, spec)
		var r *Refusal
		switch {
		case errors.As(err, &r):
			refused(out, r)
			if dump(s.store) != before {
				t.Errorf("%s: refused, but the store changed", d.Pos)
			}
		case err != nil:
			return err
		case s.store.Head() == head:
			out.WriteString("nothing to do\n")
		default:
			fmt.Fprintf(out, "entry %d\n", s.store.Head())
		}
	}
	return nil
}

func (s *story) apply(t *testing.T, d *datadriven.TestData, out *strings.Builder) error {
	var group []Transfer
	for _, line := range strings.Split(d.Input, "\n") {
		if line != "" {
			group = append(group, s.transfers(t, line)...)
		}
	}
	receipts, err := Apply(s.store, s.clock, group)
	for _, r := range receipts {
		fmt.Fprintf(out, "%s is entry %d at %d", r.ID, r.Seq, r.Recorded)
		if r.Repeated {
			out.WriteString(", as before")
		}
		out.WriteString("\n")
	}
	return err
}

// transfers reads one line; copies=N makes N transfers of it that differ in their id, manylegs=N N legs.
func (s *story) transfers(t *testing.T, line string) []Transfer {
	f := fields(line)
	tr := Transfer{ID: s.id(f[0]), Book: f[2]}
	if err := tr.Op.UnmarshalText([]byte(f[1])); err != nil {
		tr.Op = 99
	}
	copies := 1
	for _, word := range f[3:] {
		key, value, isOption := strings.Cut(word, "=")
		switch {
		case isOption && key == "of":
			tr.Of = s.id(value)
		case isOption && key == "reason":
			tr.Reason = value
		case isOption && key == "ref":
			tr.Ref = value
		case isOption && key == "effective":
			tr.Effective = number(t, value)
		case isOption && key == "copies":
			copies = int(number(t, value))
		case isOption && key == "manylegs":
			for i := range number(t, value) {
				tr.Legs = append(tr.Legs, Leg{fmt.Sprintf("a%d", i), i%2*2 - 1})
			}
		default:
			i := strings.LastIndexAny(word, "+-")
			tr.Legs = append(tr.Legs, Leg{word[:i], number(t, word[i:])})
		}
	}
	group := []Transfer{tr}
	for i := 1; i < copies; i++ {
		tr.ID = s.id(fmt.Sprintf("%s.%d", f[0], i))
		group = append(group, tr)
	}
	return group
}

func (s *story) statement(t *testing.T, args []string, out *strings.Builder) {
	walk, from, limit := Statement, uint64(0), 0
	for _, a := range args[2:] {
		switch key, value, _ := strings.Cut(a, "="); key {
		case "from":
			from = uint64(number(t, value))
		case "limit":
			limit = int(number(t, value))
		case "back":
			walk = StatementBack
		}
	}
	next := walk(s.store, args[0], args[1], from, limit, func(l Line, e Entry) bool {
		fmt.Fprintf(out, "%d: %s %+d = %d (held out %d, in %d), entry %d at %d, effective %d",
			l.N, e.Op, l.Change, l.Posted, l.HeldOut, l.HeldIn, e.Seq, e.Recorded, e.Effective())
		if e.Transfer != nil && e.Transfer.Reason+e.Transfer.Ref != "" {
			fmt.Fprintf(out, ", %s %s", e.Transfer.Reason, e.Transfer.Ref)
		}
		out.WriteString("\n")
		return true
	})
	fmt.Fprintf(out, "next %d\n", next)
}

func (s *story) audit(out *strings.Builder) {
	report, err := Audit(s.store)
	fmt.Fprintf(out, "%d entries, %d accounts\n", report.Entries, report.Accounts)
	for _, b := range report.Books {
		fmt.Fprintf(out, "%s: sum %d, held out %d, in %d\n", b.Book, b.Sum, b.HeldOut, b.HeldIn)
	}
	for _, f := range report.Findings {
		fmt.Fprintf(out, "finding: %s\n", f)
	}
	fmt.Fprintf(out, "error: %v\n", err)
}

// id makes an id of a short name; - is none.
func (s *story) id(name string) ID {
	var id ID
	if name != "-" {
		copy(id[:], name)
	}
	if !slices.Contains(s.names, id.String()) {
		s.names = append(s.names, id.String(), name)
	}
	return id
}

func fields(line string) []string {
	words := strings.Fields(line)
	for i, word := range words {
		if start := strings.Index(word, "{"); start >= 0 {
			end := strings.Index(word, "}")
			text, times, many := strings.Cut(word[start+1:end], "*")
			n := 1
			if many {
				n, _ = strconv.Atoi(times)
			} else {
				text = map[string]string{"sp": " ", "ff": "\xff", "none": ""}[text]
			}
			words[i] = word[:start] + strings.Repeat(text, n) + word[end+1:]
		}
	}
	return words
}

func number(t *testing.T, text string) int64 {
	switch text {
	case "unlimited", "+unlimited":
		return Unlimited
	case "-unlimited":
		return -Unlimited
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("number: %v", err)
	}
	return n
}
