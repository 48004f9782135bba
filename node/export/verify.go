package export

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/netting"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
	"github.com/carecircle/carecircle/ledger"
)

// maxLineBytes bounds one line of a log file: a command in base64 and its frame.
const maxLineBytes = 2*machine.MaxCommandBytes + 1024

// Finding is one thing wrong with a log.
type Finding struct {
	Line int    `json:"line,omitempty"` // of the file, from 1; 0: of the whole
	Text string `json:"text"`
}

// Checked is what a log file proves.
type Checked struct {
	Circle   string    `json:"circle"`
	Name     string    `json:"name"`
	Commands uint64    `json:"commands"`
	Done     uint64    `json:"done"`    // commands that were done
	Refused  uint64    `json:"refused"` // commands that were refused
	Entries  uint64    `json:"entries"` // of the coin book
	Accounts int       `json:"accounts"`
	Sum      int64     `json:"sumMinutes"`
	Mirrors  []Mirror  `json:"mirrors"`
	Findings []Finding `json:"findings"`
}

// Mirror is the account for another circle: as the book has it, and as the letters of both sides make it.
type Mirror struct {
	Circle        string `json:"circle"`
	Name          string `json:"name"`
	BookMinutes   int64  `json:"bookMinutes"`
	LetterMinutes int64  `json:"letterMinutes"` // from signed ACCEPTs of both sides
	SetOffMinutes int64  `json:"setOffMinutes"` // in rounds of setting off between circles
}

// OK tells whether nothing is wrong.
func (c Checked) OK() bool { return len(c.Findings) == 0 }

func (c *Checked) found(line int, format string, args ...any) {
	c.Findings = append(c.Findings, Finding{Line: line, Text: fmt.Sprintf(format, args...)})
}

// Verify checks an exported log with nothing but the file: that every line is as it was written, in its
// place, and signed for by the circle; then it replays the commands from empty and checks the books, the
// signatures of all letters and the accounts for other circles. The error is one of reading.
func Verify(r io.Reader) (Checked, error) {
	c := Checked{Mirrors: []Mirror{}, Findings: []Finding{}}
	m, err := circle.New()
	if err != nil {
		return c, err
	}
	v := &verifier{Checked: &c, machine: m, state: machine.NewMem()}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLineBytes)
	lines.Split(keepEnds)
	for n := 1; (!v.broken || v.ahead != 0) && lines.Scan(); n++ {
		raw, whole := bytes.CutSuffix(lines.Bytes(), []byte("\n"))
		if v.line(n, raw); !whole && !v.broken {
			v.found(n, "the file was cut off within its last line, after entry %d", v.last.End)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		c.found(0, "a line is longer than any command can be")
	} else if err != nil {
		return c, fmt.Errorf("verify: %w", err)
	}
	switch {
	case v.first == nil:
		c.found(0, "this is not an exported log: it is empty")
	case !v.ended && !v.broken:
		c.found(0, "the end is missing: the file was cut off after entry %d", v.last.End)
	}
	if c.OK() {
		v.books()
	}
	return c, nil
}

// keepEnds splits lines and leaves their ends on: nothing but "\n" is one, and the last line has one, too.
func keepEnds(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

type verifier struct {
	*Checked
	machine *machine.Machine
	state   *machine.Mem
	first   []byte // the header's line
	key     []byte
	last    ending
	ahead   uint64 // an entry that stands where another should; 0: none
	ended   bool
	broken  bool // what comes after cannot be judged
}

// line checks one line of the file. After the first thing wrong, what follows cannot be judged.
func (v *verifier) line(n int, raw []byte) {
	switch {
	case v.ahead != 0:
		v.lookBack(raw)
	case v.ended:
		v.found(n, "something follows after the signed end")
	case v.first == nil:
		v.header(n, raw)
	case bytes.HasPrefix(raw, []byte(`{"end":`)):
		v.ending(n, raw)
	default:
		v.entry(n, raw)
	}
	v.broken = !v.OK()
}

// read decodes a line and requires its one spelling.
func read[T any](raw []byte, into *T) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return err
	}
	again, err := json.Marshal(*into)
	if err == nil && !bytes.Equal(again, raw) {
		err = errors.New("it is not spelled as it was written")
	}
	return err
}

func (v *verifier) header(n int, raw []byte) {
	var h header
	if err := read(raw, &h); err != nil {
		v.found(n, "the header was changed: %v", err)
		return
	}
	if h.Format != logFormat {
		v.found(n, "the header says %q; this program reads %q", h.Format, logFormat)
		return
	}
	if string(letter.CircleIDOf(h.Key)) != h.Circle {
		v.found(n, "the header was changed: the circle's id is not the one of its key")
		return
	}
	v.first, v.key = bytes.Clone(raw), h.Key
	v.Circle, v.Name = h.Circle, h.Name
}

func (v *verifier) entry(n int, raw []byte) {
	var l line
	want := v.last.End + 1
	if err := read(raw, &l); err != nil {
		v.found(n, "entry %d was changed: %v", want, err)
		return
	}
	switch head := machine.ChainHash(v.last.Head, l.Entry); {
	case l.N > want:
		v.found(n, "entry %d is missing: entry %d stands in its place", want, l.N)
		v.ahead = l.N // the next line tells whether the two were only swapped
	case l.N < want:
		v.found(n, "entry %d stands in the place of entry %d", l.N, want)
	case l.Head != head:
		v.found(n, "entry %d was changed: its hash does not follow from entry %d", l.N, l.N-1)
	default:
		v.last.End, v.last.Head = l.N, l.Head
		v.apply(n, l)
	}
}

// lookBack is given the line after one that came too early, and says so if the two only changed places.
func (v *verifier) lookBack(raw []byte) {
	var l line
	if want := v.last.End + 1; read(raw, &l) == nil && l.N == want {
		v.Findings[len(v.Findings)-1].Text = fmt.Sprintf("entry %d and entry %d were swapped", want, v.ahead)
	}
	v.ahead = 0
}

func (v *verifier) apply(n int, l line) {
	out, err := v.machine.Apply(v.state, l.Entry)
	switch {
	case err != nil:
		v.found(n, "entry %d cannot be replayed: %v", l.N, err)
	case out.Repeated:
		v.found(n, "entry %d repeats the command at %d", l.N, out.Position)
	case out.Refusal != nil:
		v.Refused++
	default:
		v.Done++
	}
	v.Commands = l.N
}

func (v *verifier) ending(n int, raw []byte) {
	var e ending
	if err := read(raw, &e); err != nil {
		v.found(n, "the end was changed: %v", err)
		return
	}
	switch {
	case e.End != v.last.End || e.Head != v.last.Head:
		v.found(n, "entry %d is missing: the end stands after entry %d of %d", v.last.End+1, v.last.End,
			e.End)
	case letter.ForLog.Verify(v.key, signedPart(v.first, e), e.Signature) != nil:
		v.found(n, "the circle's signature does not fit: header or end was changed, or the file was made by"+
			" somebody else")
	}
	v.ended = true
}

// books checks what the replay gave.
func (v *verifier) books() {
	us, _ := member.TheCircle(v.state)
	if us.ID != v.Circle || us.Name != v.Name || !bytes.Equal(us.Key, v.key) {
		v.found(1, "the header is of %q (%s), entry 1 founded %q (%s): somebody else made this file", v.Name,
			v.Circle, us.Name, us.ID)
	}
	report, err := ledger.Audit(coin.ReadBooks(v.state))
	if err != nil {
		v.found(0, "the coin book cannot be audited: %v", err)
		return
	}
	for _, f := range report.Findings {
		v.found(0, "coin book: %s", f)
	}
	v.Entries, v.Accounts = report.Entries, int(report.Accounts)
	coin.ReadBooks(v.state).Accounts(coin.Book, func(a ledger.Account) bool {
		v.Sum += a.Posted
		return true
	})
	if v.Sum != 0 {
		v.found(0, "the coin book sums to %d minutes, not to 0", v.Sum)
	}
	for _, p := range exchange.Peers(v.state) {
		v.mirror(p)
	}
}

// mirror adds up the signed ACCEPTs of both streams: what they took for us we owe them, what we took for
// them they owe us. Those that the hub undid, as an ABORTED or FORGIVEN says, are left out.
func (v *verifier) mirror(p exchange.PeerState) {
	m := Mirror{Circle: string(p.Circle), Name: p.Name}
	if a, ok := coin.ReadBooks(v.state).Account(coin.Book, coin.CirclePrefix+m.Circle); ok {
		m.BookMinutes = a.Posted
	}
	told := newDeals()
	for i, s := range exchange.Inbox(v.state, p.Circle, 1, p.Held.Seq) {
		r, _, err := letter.Open(p.Key, s)
		if err != nil {
			v.found(0, "letter %d from %s: %v", i+1, p.Name, err)
			continue
		}
		v.counts(r, v.key, told)
	}
	for _, raw := range exchange.Outbox(v.state, p.Circle, 1, p.Tail.Seq) {
		r, err := letter.Decode(raw)
		if err != nil {
			v.found(0, "a letter to %s: %v", p.Name, err)
			continue
		}
		v.counts(r, p.Key, told)
	}
	m.LetterMinutes = told.owed(letter.CircleIDOf(v.key))
	m.SetOffMinutes = netting.SetOff(v.state, m.Circle)
	if m.BookMinutes != m.LetterMinutes+m.SetOffMinutes {
		v.found(0, "the account of %s stands at %d minutes, the letters make it %d, and rounds %d", p.Name,
			m.BookMinutes, m.LetterMinutes, m.SetOffMinutes)
	}
	v.Mirrors = append(v.Mirrors, m)
}

// deal is a payment between two circles: each may choose the same id.
type deal struct {
	payer letter.CircleID
	tid   payment.TID
}

// deals are the payments between two circles that letters tell of.
type deals struct {
	made   map[deal]int64 // minutes
	undone map[deal]bool  // by the hub
}

func newDeals() deals { return deals{made: map[deal]int64{}, undone: map[deal]bool{}} }

// owed is what a circle owes the other, in minutes; less than 0: is owed.
func (all deals) owed(us letter.CircleID) (minutes int64) {
	for d, n := range all.made {
		switch {
		case all.undone[d]:
		case d.payer == us:
			minutes += n
		default:
			minutes -= n
		}
	}
	return minutes
}

// counts puts a letter about a payment to what was made, or to what was undone. The key is the payer's, if
// the letter is an ACCEPT: its embedded PROPOSE the payer must have signed.
func (v *verifier) counts(r letter.Record, payer []byte, all deals) {
	tid, side, ok, err := payment.OwnPayment(r)
	d := deal{payer: r.From, tid: tid}
	if side == payment.Payee {
		d.payer = r.To
	}
	switch {
	case err != nil:
		v.found(0, "letter %d from %s: %v", r.Seq, r.From, err)
	case !ok:
	case r.Kind == letter.Accept:
		all.made[d] = v.accepted(r, payer)
	case r.Kind == letter.Aborted, r.Kind == letter.Forgiven:
		all.undone[d] = true
	}
}

// accepted returns the minutes of an ACCEPT.
func (v *verifier) accepted(r letter.Record, payer []byte) int64 {
	body, err := payment.DecodeAccept(r.Body)
	if err != nil {
		v.found(0, "ACCEPT %d from %s: %v", r.Seq, r.From, err)
		return 0
	}
	proposal, _, err := letter.Open(payer, body.Propose)
	if err != nil {
		v.found(0, "ACCEPT %d from %s holds a proposal its payer did not sign: %v", r.Seq, r.From, err)
		return 0
	}
	offer, err := payment.DecodePropose(proposal.Body)
	if err != nil {
		v.found(0, "ACCEPT %d from %s: %v", r.Seq, r.From, err)
		return 0
	}
	return offer.Minutes
}

// Compare checks that the logs of several circles mirror each other, as far as their letters have arrived.
func Compare(logs []Checked) []Finding {
	out := []Finding{}
	for i, a := range logs {
		for _, b := range logs[i+1:] {
			ab, okA := a.mirrorTo(b.Circle)
			ba, okB := b.mirrorTo(a.Circle)
			if (okA || okB) && ab.BookMinutes+ba.BookMinutes != 0 { // one that has no account has 0 minutes
				out = append(out, Finding{Text: fmt.Sprintf("%s holds the account of %s at %d minutes, %s"+
					" the other at %d:"+
					" letters are on the way, or the books"+
					" differ", a.Name, b.Name, ab.BookMinutes, b.Name, ba.BookMinutes)})
			}
		}
	}
	return out
}

func (c Checked) mirrorTo(circle string) (Mirror, bool) {
	for _, m := range c.Mirrors {
		if m.Circle == circle {
			return m, true
		}
	}
	return Mirror{}, false
}
