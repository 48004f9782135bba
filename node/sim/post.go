package sim

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/memnet"
	"github.com/carecircle/carecircle/federation/payment"
)

// work does what the courier asks for, as the node's shell would.
func (t *town) work() {
	if !t.up || exchange.Life(t.state()) != t.nx {
		return
	}
	for _, p := range t.peers() {
		if p.Recall > p.Tail.Seq {
			t.recall(p)
		}
		if p.Circle == t.s.hub.id || t == t.s.hub {
			continue // no letters go there
		}
		if p.Frozen {
			t.courier.Remove(p.Circle)
		} else {
			t.courier.Peer(p.Circle, p.Tail)
			t.courier.Began(p.Circle, p.Life)
		}
	}
	t.tellMoves()
	t.courier.Tick(t.s.now)
	for requests := t.courier.Ready(); len(requests) > 0; requests = t.courier.Ready() {
		for _, r := range requests {
			t.serve(r)
		}
	}
}

func (t *town) serve(r courier.Request) {
	switch r.Kind {
	case courier.Opened:
		t.hear(r)
	case courier.SendOpen:
		t.ask(r.Peer, r.Open, t.courierTold(r))
	case courier.SendBatch:
		b := courier.Batch{Nx: r.Nx, Ny: r.Ny, From: t.id, To: r.Peer}
		for i, raw := range exchange.Outbox(t.state(), r.Peer, r.FromSeq, r.ToSeq) {
			t.s.wroteOnce(t, r.Peer, r.FromSeq+uint64(i), raw)
			b.Records = append(b.Records, t.s.sign(t, raw))
		}
		b.Records = b.Records[:courier.Fit(b.Records)]
		t.ask(r.Peer, b, t.courierTold(r))
	}
}

// hear brings a peer's WELCOME into the log, and tells the courier whether it is to go on.
func (t *town) hear(r courier.Request) {
	courier := t.courier
	t.asNode("exchange.welcomed", exchange.HearWelcome{Welcome: r.Welcome}, func(out machine.Outcome) {
		heard, _ := out.Result.(exchange.Heard)
		confirm := func() {
			courier.Confirm(r, heard.ForCourier())
			t.work()
		}
		if !t.s.dice.chance(100) {
			confirm()
			return
		}
		t.s.after(t.s.dice.between(1, 200), confirm) // a node may be slow to go on
	})
}

// asNode proposes what the node itself does.
func (t *town) asNode(kind string, body any, then func(machine.Outcome)) {
	t.propose(t.s.command(machine.Caller{Actor: machine.ActorNode}, kind, body), then)
}

// recall asks a peer for letters of ours that we have forgotten, one piece after the other.
func (t *town) recall(p exchange.PeerState) {
	if t.recalling[p.Circle] {
		return
	}
	t.recalling[p.Circle] = true
	done := func() { t.recalling[p.Circle] = false }
	ask := courier.Recall{From: t.id, To: p.Circle, After: p.Tail.Seq}
	t.ask(p.Circle, ask, func(msg any) {
		got, ok := msg.(courier.Recalled)
		if !ok || len(got.Records) == 0 {
			t.s.after(workMillis, done)
			return
		}
		t.s.res.Recalls += len(got.Records)
		body := exchange.Recall{Circle: string(p.Circle), Records: got.Records}
		t.asNode("exchange.recall", body, func(machine.Outcome) {
			done()
			t.work()
		})
	})
}

// askHub puts to the hub what gets no answer.
func (t *town) askHub() {
	if !t.up || t == t.s.hub || exchange.Life(t.state()) != t.nx {
		return
	}
	for _, q := range exchange.Questions(t.state(), 4) {
		if t.asking[q.TID] {
			continue
		}
		t.asking[q.TID] = true
		done := func() { t.asking[q.TID] = false }
		if q.Own {
			q.Proof = t.s.sign(t, q.Proof.Bytes)
		}
		ask := courier.Register{From: t.id, To: t.s.hub.id, Verdict: uint8(q.Verdict), Proof: q.Proof}
		t.s.res.Questions++
		t.ask(t.s.hub.id, ask, func(msg any) {
			got, ok := msg.(courier.Certified)
			if !ok {
				t.s.after(expireMillis, done)
				return
			}
			body := exchange.TakeVerdict{Certificate: got.Certificate}
			t.asNode("exchange.verdict", body, func(machine.Outcome) {
				t.s.after(expireMillis, done)
				t.work()
			})
		})
	}
}

// courierTold gives answers to the courier that asked.
func (t *town) courierTold(r courier.Request) func(msg any) {
	courier := t.courier
	return func(msg any) {
		if msg == nil {
			courier.Failed(r, "timeout", t.s.now)
		} else {
			courier.Replied(r, msg, t.s.now)
		}
	}
}

// ask sends a request; told gets the answer, or nil where none comes in time, unless the node crashes first.
func (t *town) ask(to letter.CircleID, msg any, told func(msg any)) {
	raw := t.encode(t.s.mutateRequest(t, to, msg))
	t.s.res.Messages++
	id := t.s.net.Ask(t.id, to, raw, t.s.now)
	t.told[id] = told
	t.s.note(t.name, "ask", t.s.byID[to].name, int64(id), int64(len(raw)))
}

func (t *town) encode(msg any) []byte {
	b, err := courier.Encode(msg)
	if err != nil {
		t.s.fail("letters", "%s: a message cannot be encoded: %v", t.name, err)
	}
	return b
}

// arrived handles what the network brings.
func (s *sim) arrived(e memnet.Event) {
	from, to := s.byID[e.From], s.byID[e.To]
	switch e.Kind {
	case memnet.Request:
		s.note(to.name, "request", from.name, int64(e.ID), int64(len(e.Bytes)))
		if s.again(e.ID) {
			s.res.Duplicated++
		}
		if to.up {
			to.handle(from, e.Bytes, func(msg any) {
				s.res.Messages++
				s.net.Answer(e, to.encode(s.mutateAnswer(to, msg)), s.now)
			})
		}
	case memnet.Failure:
		s.note(from.name, "failure", to.name, int64(e.ID), 0)
		s.res.Lost++
		from.answered(e.ID, nil)
	case memnet.Reply:
		msg, err := courier.Decode(e.Bytes)
		if err != nil {
			s.fail("letters", "%s: an answer cannot be read: %v", from.name, err)
		}
		s.note(from.name, "reply", to.name, int64(e.ID), int64(len(e.Bytes)))
		from.answered(e.ID, msg)
	}
}

func (t *town) answered(id uint64, msg any) {
	told := t.told[id]
	delete(t.told, id)
	if told != nil {
		told(msg)
		t.work()
	}
}

// again notes that a request was handled, and tells whether it had been before.
func (s *sim) again(id uint64) bool {
	for uint64(len(s.handled)) <= id {
		s.handled = append(s.handled, false)
	}
	before := s.handled[id]
	s.handled[id] = true
	return before
}

// handle takes a peer's request and gives its answer to reply, once it is in our log.
func (t *town) handle(from *town, request []byte, reply func(msg any)) {
	msg, err := courier.Decode(request)
	if err != nil {
		reply(courier.Refused{Code: courier.Malformed, Message: "not understood"})
		return
	}
	if t.s.mutateHandled(t, msg, reply) {
		return
	}
	switch m := msg.(type) {
	case courier.Open:
		t.s.after(1, t.work)
		ny := t.s.dice.nonce()
		body := exchange.Session{Nx: m.Nx, Ny: ny}
		t.fromPeer(from, "exchange.session", body, reply, func(result any) any {
			w := result.(exchange.Welcomed)
			signed, err := courier.SignWelcome(t.key, courier.Welcome{
				Nx: m.Nx, Ny: ny, Held: w.Held, HeadSeen: w.HeadSeen, From: t.id, To: from.id,
				Tail: w.Tail,
			})
			if err != nil {
				t.s.fail("letters", "%s: a WELCOME cannot be signed: %v", t.name, err)
			}
			raw, _ := signed.Signed()
			t.s.notary.note(letter.ForWelcome, t.public(), raw, signed.Sig)
			return signed
		})
	case courier.Batch:
		body := exchange.Receive{Nx: m.Nx, Ny: m.Ny, Records: m.Records}
		t.fromPeer(from, "exchange.receive", body, reply, func(result any) any {
			got := result.(exchange.Received)
			if got.Frozen != "" {
				return courier.Refused{Code: courier.Frozen, Message: "stopped until people look at it"}
			}
			return courier.Ack{Held: got.Held}
		})
	case courier.Recall:
		reply(courier.Recalled{Records: exchange.Inbox(t.state(), from.id, m.After+1, m.After+recallAtOnce)})
	case courier.Report:
		t.gotReport(from, m, reply)
	case courier.Register:
		body := hub.Register{Verdict: payment.Verdict(m.Verdict), Proof: m.Proof}
		t.fromPeer(from, "hub.register", body, reply, func(result any) any {
			raw := result.(hub.Registered).Certificate
			return courier.Certified{Certificate: letter.Signed{
				Bytes: raw, Sig: letter.ForVerdict.Sign(t.key, raw),
			}}
		})
	default:
		t.gotRound(from, msg, reply)
	}
}

// fromPeer proposes what a peer asked for; answer makes the message to send back of the rule's result.
func (t *town) fromPeer(
	from *town, kind string, body any, reply func(msg any), answer func(result any) any,
) {
	by := machine.Caller{Actor: machine.PeerActor(string(from.id))}
	c := t.s.command(by, kind, body)
	refuse := func(r *machine.Error) {
		text := r.Message[:min(len(r.Message), courier.MaxRefusalBytes)]
		reply(courier.Refused{Code: r.Code, Message: text})
	}
	if err := t.s.machine.Check(c); err != nil {
		refuse(machine.AsError(err))
		return
	}
	t.propose(c, func(out machine.Outcome) {
		if out.Refusal != nil {
			refuse(out.Refusal)
			return
		}
		reply(answer(out.Result))
	})
}

// expire has payments called back that have waited too long, and put to the hub.
func (t *town) expire() {
	if !t.up || t == t.s.hub || exchange.Life(t.state()) != t.nx {
		return
	}
	if exchange.Due(t.state(), t.clock()) || ruleOff(t.s.opt.Mutate) == payment.ReceiptAtOnce {
		var held []exchange.HeldBy
		for _, p := range t.courier.Status() {
			held = append(held, exchange.HeldBy{Circle: string(p.Peer), Seq: p.Held})
		}
		t.asNode("exchange.expire", exchange.Expire{Held: held, Most: exchange.ExpiredAtOnce}, nil)
	}
	t.askHub()
}

// command wraps a body under a new id.
func (s *sim) command(by machine.Caller, kind string, body any) machine.Command {
	c, err := machine.NewCommand(s.dice.id(), by, 0, kind, body)
	if err != nil {
		s.fail("setup", "a body of %s cannot be encoded: %v", kind, err)
	}
	return c
}
