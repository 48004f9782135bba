package sim

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/memnet"
)

// work does what the courier asks for, as the node's shell would.
func (t *town) work() {
	if !t.up {
		return
	}
	for _, p := range t.peers() {
		if p.Frozen {
			t.courier.Remove(p.Circle)
		} else {
			t.courier.Peer(p.Circle, p.Tail)
		}
	}
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
		t.courier.Confirm(r.Peer, t.agrees(r.Welcome))
	case courier.SendOpen:
		t.ask(r.Peer, r.Open)
	case courier.SendBatch:
		b := courier.Batch{Nx: r.Nx, Ny: r.Ny, From: t.id, To: r.Peer}
		for i, raw := range exchange.Outbox(t.state(), r.Peer, r.FromSeq, r.ToSeq) {
			t.s.wroteOnce(t, r.Peer, r.FromSeq+uint64(i), raw)
			b.Records = append(b.Records, letter.Sign(t.key, raw))
		}
		b.Records = b.Records[:courier.Fit(b.Records)]
		t.ask(r.Peer, b)
	}
}

// agrees compares a peer's WELCOME with our own books.
func (t *town) agrees(w courier.Welcome) bool {
	for _, p := range t.peers() {
		if p.Circle == w.From {
			return courier.VerifyWelcome(p.Key, w) == nil &&
				(w.Held.Seq > p.Tail.Seq || exchange.Agrees(t.state(), w.From, w.Held))
		}
	}
	return false
}

func (t *town) ask(to letter.CircleID, msg any) {
	raw := t.encode(t.s.mutateRequest(t, to, msg))
	t.s.res.Messages++
	t.s.note(t.name, "ask", t.s.byID[to].name, int64(t.s.net.Ask(t.id, to, raw, t.s.now)), int64(len(raw)))
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
		from.courier.Failed(e.To, "timeout", s.now)
		from.work()
	case memnet.Reply:
		msg, err := courier.Decode(e.Bytes)
		if err != nil {
			s.fail("letters", "%s: an answer cannot be read: %v", from.name, err)
		}
		s.note(from.name, "reply", to.name, int64(e.ID), int64(len(e.Bytes)))
		from.courier.Replied(e.To, msg, s.now)
		from.work()
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
		ny := t.s.dice.nonce()
		body := exchange.Session{Nx: m.Nx, Ny: ny}
		t.fromPeer(from, "exchange.session", body, reply, func(result any) any {
			w := result.(exchange.Welcomed)
			signed, err := courier.SignWelcome(t.key, courier.Welcome{
				Nx: m.Nx, Ny: ny, Held: w.Held, HeadSeen: w.HeadSeen, From: t.id, To: from.id,
			})
			if err != nil {
				t.s.fail("letters", "%s: a WELCOME cannot be signed: %v", t.name, err)
			}
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
	default:
		reply(courier.Refused{Code: courier.Malformed, Message: "not a request"})
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

// expire has payments called back that have waited too long.
func (t *town) expire() {
	if t.up && exchange.Due(t.state(), t.clock()) {
		by := machine.Caller{Actor: machine.ActorNode}
		t.propose(t.s.command(by, "exchange.expire", exchange.Expire{}), nil)
	}
}

// command wraps a body under a new id.
func (s *sim) command(by machine.Caller, kind string, body any) machine.Command {
	c, err := machine.NewCommand(s.dice.id(), by, 0, kind, body)
	if err != nil {
		s.fail("setup", "a body of %s cannot be encoded: %v", kind, err)
	}
	return c
}
