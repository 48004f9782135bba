package sim

import (
	"bytes"
	"slices"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
	"github.com/carecircle/carecircle/ledger"
	"github.com/fxamacker/cbor/v2"
)

// What can be broken on purpose.
const (
	DropCommand   = "drop-command"   // one replica leaves out a committed command
	DropAccepts   = "drop-accepts"   // a circle never applies what carries an ACCEPT: nothing is settled
	FalseAck      = "false-ack"      // a circle says that it holds letters which it dropped
	ReplayBatch   = "replay-batch"   // a batch comes again in a later session, under its old one
	ReplayLetters = "replay-letters" // letters of an older session come again within the one in force
	SkipLetters   = "skip-letters"   // the first letters of a batch are left out
	Fork          = "fork"           // a circle signs two letters for one place, and sends both
	ForkAlone     = "fork-alone"     // the same, but only the second is sent
	Tamper        = "tamper"         // a letter is changed on the way
	FalseAccept   = "false-accept"   // a circle that rejected a payment sends ACCEPT
	FalseReject   = "false-reject"   // a circle that accepted a payment sends REJECT
	FalseWelcome  = "false-welcome"  // a WELCOME is changed on the way
	ForgeRow      = "forge-row"      // coins appear on an account
	ForgeLimit    = "forge-limit"    // the account of another circle gets another limit
	ForgePayment  = "forge-payment"  // a payment is returned that nobody rejected
	ForgeCommand  = "forge-command"  // every replica applies a command that is not in the log
	ForgetAnswers = "forget-answers" // a circle forgets which requests it answered
	RefusalWrites = "refusal-writes" // a refused command leaves something behind
	AnyBackup     = "any-backup"     // a copy of a time that was left is put back (R10)
)

// rulesOff are the rules between circles that can be off, by name.
var rulesOff = []struct {
	name string
	rule payment.Rule
}{
	{"refund-at-expiry", payment.PayeeDecides},        // R1
	{"credit-again", payment.DuplicateOnce},           //
	{"receipt-later", payment.ReceiptAtOnce},          // R2
	{"no-freshness", payment.FreshFirst},              // R4, R5
	{"jump-over", payment.ReplayOwn},                  // R5
	{"no-session", payment.SessionBound},              // R6
	{"no-embedded-proposal", payment.ReceiptTellsAll}, // R7
	{"hub-ignored", payment.HubDecides},               // R8
	{"verdict-not-passed", payment.VerdictInStream},   // R9
	{"hub-overwrites", payment.FirstVerdict},          //
	{"ask-before-hearing", payment.AnswersFirst},      // R5
}

// RulesOff names what can be off of the rules between circles, AnyBackup among them.
func RulesOff() []string {
	var names []string
	for _, r := range rulesOff {
		names = append(names, r.name)
	}
	return append(names, AnyBackup)
}

func ruleOff(name string) payment.Rule {
	for _, r := range rulesOff {
		if r.name == name {
			return r.rule
		}
	}
	return payment.NoRule
}

// Mutations are all of them.
var Mutations = []string{
	DropCommand, DropAccepts, FalseAck, ReplayBatch, ReplayLetters, SkipLetters, Fork, ForkAlone, Tamper,
	FalseAccept, FalseReject, FalseWelcome, ForgeRow, ForgeLimit, ForgePayment, ForgeCommand, ForgetAnswers,
	RefusalWrites,
}

// lawless tells whether a rule between circles is off.
func (s *sim) lawless() bool {
	return ruleOff(s.opt.Mutate) != payment.NoRule || s.opt.Mutate == AnyBackup
}

// mutation is what is broken on purpose, to see that somebody notices.
type mutation struct {
	signed map[place]letter.Hash
	begin  int64                    // not before this time
	caught map[line][]courier.Batch // sent so far
	entry  int                      // log entry of the first town after which its state is forged
	forged []byte                   // the command then applied
}

func (s *sim) prepareMutation(ticks int64) {
	s.signed, s.caught = map[place]letter.Hash{}, map[line][]courier.Batch{}
	s.begin = ticks / 3
	if s.opt.Mutate == FalseAck {
		s.begin = ticks // before that, later letters would put it right
	}
	s.entry = len(s.towns[0].log) + 14
}

// breaks tells whether it is time for a mutation; those done once are done when it says so.
func (s *sim) breaks(name string, times int) bool {
	return s.opt.Mutate == name && s.now >= s.begin && (times == 0 || s.res.Mutated < times)
}

func (s *sim) mutated(who, text string) {
	s.res.Mutated++
	s.note(who, "mutated", s.opt.Mutate+" "+text, 0, 0)
}

// skips tells whether a replica leaves out a log entry.
func (s *sim) skips(t *town, which int, raw []byte) bool {
	switch {
	case s.breaks(DropCommand, 1) && which != t.lead:
		s.mutated(t.name, "")
		return true
	case s.opt.Mutate == DropAccepts && t == s.towns[0] && carries(raw, letter.Accept):
		s.mutated(t.name, "")
		return true
	}
	return false
}

// carries tells whether a logged command takes a letter of a kind.
func carries(raw []byte, kind letter.Kind) bool {
	c, err := machine.DecodeCommand(raw)
	if err != nil || c.Kind != "exchange.receive" {
		return false
	}
	var r exchange.Receive
	if cbor.Unmarshal(c.Body, &r) != nil {
		return false
	}
	return slices.ContainsFunc(r.Records, func(s letter.Signed) bool {
		l, err := letter.Decode(s.Bytes)
		return err == nil && l.Kind == kind
	})
}

// afterApply changes a state behind the machine's back.
func (s *sim) afterApply(t *town, r *replica, out machine.Outcome) {
	there := s.entry > 0 && t == s.towns[0] && r.applied-1 == s.entry
	switch {
	case s.opt.Mutate == ForgeRow && there, s.breaks(RefusalWrites, 1) && out.Refusal != nil:
		forge(t, r, "coin.account", func(a *ledger.Account) bool {
			a.Posted += 60
			return a.Kind == coin.KindPerson
		})
	case s.opt.Mutate == ForgeLimit && there:
		forge(t, r, "coin.account", func(a *ledger.Account) bool {
			a.Ceiling += 60
			return a.Kind == coin.KindCircle
		})
	case s.opt.Mutate == ForgePayment && there:
		forge(t, r, "exchange.payment", func(p *payment.Payment) bool {
			was := p.State
			p.State = payment.Returned
			return was == payment.Held || was == payment.Settled
		})
	case s.opt.Mutate == ForgeCommand && there:
		s.forgeCommand(t, r)
	case s.breaks(ForgetAnswers, 0) && t == s.towns[0]:
		for _, row := range slices.Clone(r.kv.wrote) {
			if bytes.HasPrefix(row.key, []byte("a/")) {
				r.kv.Delete(row.key)
				s.mutated(t.name, "")
			}
		}
	}
}

// forge changes the first row of a table that change wants to.
func forge[V any](t *town, r *replica, table string, change func(row *V) bool) {
	var key, value []byte
	r.kv.Ascend([]byte("s/"+table+"\x00"), nil, func(k, v []byte) bool {
		var row V
		if cbor.Unmarshal(v, &row) != nil || !change(&row) {
			return true
		}
		key = bytes.Clone(k)
		value, _ = letter.Marshal(row)
		return false
	})
	if key != nil {
		r.kv.Set(key, value)
		t.s.mutated(t.name, table)
	}
}

func (s *sim) forgeCommand(t *town, r *replica) {
	if s.forged == nil {
		s.forged = t.stamped(s.command(machine.Caller{Actor: t.people[0]}, "coin.give",
			coin.Give{To: t.people[1], Minutes: 1}))
	}
	if _, err := s.machine.Apply(r.kv, s.forged); err != nil {
		s.fail("setup", "%v", err)
	}
	s.mutated(t.name, "")
}

// mutateRequest breaks what a circle sends.
func (s *sim) mutateRequest(from *town, to letter.CircleID, msg any) any {
	b, ok := msg.(courier.Batch)
	if !ok {
		return msg
	}
	if s.lying(from) {
		return s.lieInBatch(to, b)
	}
	l := line{from.id, to}
	for _, old := range s.caught[l] {
		other := old.Nx != b.Nx || old.Ny != b.Ny
		switch {
		case other && s.breaks(ReplayBatch, 20):
			s.inject(from, to, old)
		case other && s.breaks(ReplayLetters, 20):
			old.Nx, old.Ny = b.Nx, b.Ny
			s.inject(from, to, old)
		}
	}
	s.caught[l] = append(s.caught[l], b)
	switch {
	case s.breaks(SkipLetters, 5) && len(b.Records) > 1:
		b.Records = b.Records[s.dice.between(1, int64(len(b.Records)-1)):]
		s.mutated(from.name, "")
	case s.breaks(Tamper, 5):
		b.Records = slices.Clone(b.Records)
		raw := bytes.Clone(b.Records[0].Bytes)
		raw[s.dice.below(len(raw))] ^= 1 << s.dice.below(8)
		b.Records[0].Bytes = raw
		s.mutated(from.name, "")
	case s.breaks(Fork, 3):
		if forged, ok := s.resign(from, b, letter.Propose); ok {
			s.inject(from, to, forged)
		}
	case s.breaks(ForkAlone, 3):
		b, _ = s.resign(from, b, letter.Propose)
	case s.breaks(FalseAccept, 3):
		b, _ = s.resign(from, b, letter.Reject)
	case s.breaks(FalseReject, 3):
		b, _ = s.resign(from, b, letter.Accept)
	}
	return b
}

// inject brings a message to a circle past the network, a little later, and counts when it is refused.
func (s *sim) inject(from *town, to letter.CircleID, msg any) {
	s.mutated(from.name, "to "+s.byID[to].name)
	raw := from.encode(msg)
	s.after(s.dice.between(20, 400), func() {
		if !s.byID[to].up {
			return
		}
		s.byID[to].handle(from, raw, func(reply any) {
			if _, refused := reply.(courier.Refused); refused {
				s.res.Repelled++
			}
		})
	})
}

// resign writes the last letter of a batch anew, if it is of the kind, with the circle's own key.
func (s *sim) resign(from *town, b courier.Batch, kind letter.Kind) (courier.Batch, bool) {
	last := len(b.Records) - 1
	l, err := letter.Decode(b.Records[last].Bytes)
	if err != nil || l.Kind != kind || !s.rewrite(from, &l) {
		return b, false
	}
	raw, err := l.Encode()
	if err != nil {
		s.fail("setup", "%v", err)
		return b, false
	}
	s.mutated(from.name, "")
	b.Records = append(slices.Clone(b.Records[:last]), s.sign(from, raw))
	return b, true
}

// rewrite makes an offer larger, and turns a decision round.
func (s *sim) rewrite(from *town, l *letter.Record) bool {
	switch l.Kind {
	case letter.Propose:
		offer, err := payment.DecodePropose(l.Body)
		from.books.must(err)
		offer.Minutes++
		l.Body, _ = offer.Encode()
		return true
	case letter.Accept:
		yes, err := payment.DecodeAccept(l.Body)
		from.books.must(err)
		l.Kind = letter.Reject
		l.Body, _ = payment.RejectBody{
			TID: yes.TID, Reason: payment.ReasonClosed, Propose: letter.HashOf(yes.Propose.Bytes),
		}.Encode()
		return true
	default:
		no, err := payment.DecodeReject(l.Body)
		from.books.must(err)
		for _, offer := range exchange.Inbox(from.state(), l.To, 1, 1<<40) {
			if letter.HashOf(offer.Bytes) == no.Propose {
				l.Kind = letter.Accept
				l.Body, _ = payment.AcceptBody{TID: no.TID, Propose: offer, Note: []byte{}}.Encode()
				return true
			}
		}
		return false
	}
}

// mutateHandled drops letters and tells their sender that they are held.
func (s *sim) mutateHandled(t *town, msg any, reply func(any)) bool {
	b, ok := msg.(courier.Batch)
	if !ok || !s.breaks(FalseAck, 0) {
		return false
	}
	l, err := letter.Decode(b.Records[len(b.Records)-1].Bytes)
	if err != nil {
		return false
	}
	s.mutated(t.name, "")
	raw := b.Records[len(b.Records)-1].Bytes
	reply(courier.Ack{Held: letter.Position{Epoch: l.Epoch, Seq: l.Seq, Hash: letter.HashOf(raw)}})
	return true
}

// mutateAnswer breaks what a circle answers.
func (s *sim) mutateAnswer(t *town, msg any) any {
	if s.lying(t) {
		return s.lieInAnswer(msg)
	}
	if w, ok := msg.(courier.Welcome); ok && s.breaks(FalseWelcome, 3) {
		s.mutated(t.name, "")
		w.Held.Seq++
		return w
	}
	return msg
}
