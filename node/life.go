package node

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

const (
	questionsAtOnce = 16               // put to the hub at a time
	officeEvery     = 10 * time.Second // the hub is asked whether it was put back
	recallPatience  = time.Minute      // for one piece of what a peer holds of ours
)

// life is what this replica remembers of leading: all of it is lost with it, and nothing but time with that.
type life struct {
	beginning bool
	expired   time.Time
	recalling map[letter.CircleID]time.Time // not again before
	expiring  bool
	asking    bool // the hub
	office    time.Time
	reported  map[letter.CircleID]uint64 // the hub's epoch in which it has our report about them
}

func newLife() life {
	return life{recalling: map[letter.CircleID]time.Time{}, reported: map[letter.CircleID]uint64{}}
}

// live begins a new life of the circle's letters when this replica has come to lead, and ends it when it
// leads no more. Nothing is written to a peer in a new life before the peer was heard. A circle that knows no
// others has none.
func (l *letters) live(ctx context.Context) {
	switch {
	case !l.leads():
		l.courier, l.life = nil, newLife()
	case l.courier == nil && !l.life.beginning && len(*l.known.Load()) > 0:
		l.life.beginning = true
		l.beside(ctx, func() func() {
			nx, err := newNonce()
			if err == nil {
				_, err = l.asNode(ctx, "exchange.begin", exchange.Begin{Nx: nx, Apart: true})
			}
			return func() {
				l.life.beginning = false
				if err == nil && l.leads() {
					l.courier = courier.New(l.keys.CircleID(), nx, binary.BigEndian.Uint64(nx[:8]))
				}
			}
		})
	}
}

// hear brings a peer's WELCOME into the log, and tells whether letters can go there.
func (l *letters) hear(ctx context.Context, w courier.Welcome) courier.Heard {
	result, err := l.asNode(ctx, "exchange.welcomed", exchange.HearWelcome{Welcome: w})
	heard, _ := result.(exchange.Heard)
	if err != nil {
		l.log.Warn("a circle's welcome could not be taken", "circle", w.From, "err", err)
	}
	return heard.ForCourier()
}

// takeBack asks a peer for letters of ours that we have forgotten, one piece after the other.
func (l *letters) takeBack(ctx context.Context, p exchange.Stream) {
	now, recalling := time.Now(), l.life.recalling
	if p.Recall <= p.Tail.Seq || now.Before(recalling[p.Circle]) {
		return
	}
	recalling[p.Circle] = now.Add(recallPatience)
	l.log.Warn("this circle's books are older than what another circle has of it; taking letters back",
		"circle", p.Circle, "have", p.Tail.Seq, "they", p.Recall)
	l.beside(ctx, func() func() {
		err := l.recallFrom(ctx, p)
		if err != nil {
			l.log.Warn("letters could not be taken back yet", "circle", p.Circle, "err", err)
			return func() { recalling[p.Circle] = time.Now().Add(expireEvery) }
		}
		return func() { delete(recalling, p.Circle) }
	})
}

func (l *letters) recallFrom(ctx context.Context, p exchange.Stream) error {
	ask := courier.Recall{From: l.keys.CircleID(), To: p.Circle, After: p.Tail.Seq}
	msg, err := l.ask(ctx, p.Circle, ask)
	if err != nil {
		return err
	}
	got, ok := msg.(courier.Recalled)
	if !ok || len(got.Records) == 0 {
		return errors.New("the circle gave none")
	}
	notes, err := l.openNotes(got.Records)
	if err != nil {
		return err
	}
	body := exchange.Recall{Circle: string(p.Circle), Records: got.Records, Notes: notes}
	_, err = l.asNode(ctx, "exchange.recall", body)
	return err
}

// chores are what comes up with time: payments past theirs, and what the hub is to be asked and told.
func (l *letters) chores(ctx context.Context) {
	if now := time.Now(); now.Sub(l.life.expired) > expireEvery {
		l.life.expired = now
		l.expire(ctx)
		l.askHub(ctx)
	}
}

// expire has payments called back that have waited too long, and later put to the hub.
func (l *letters) expire(ctx context.Context) {
	var due bool
	err := l.circle.Read(func(r machine.Reader) error {
		due = exchange.Due(r, time.Now().UnixMilli())
		return nil
	})
	if err != nil || !due || l.life.expiring {
		return
	}
	body := exchange.Expire{Most: exchange.ExpiredAtOnce}
	for _, p := range l.courier.Status() {
		body.Held = append(body.Held, exchange.HeldBy{Circle: string(p.Peer), Seq: p.Held})
	}
	l.life.expiring = true
	l.beside(ctx, func() func() {
		_, err := l.asNode(ctx, "exchange.expire", body)
		if err != nil && ctx.Err() == nil {
			l.log.Warn("payments past their time were not called back yet", "err", err)
		}
		return func() { l.life.expiring = false }
	})
}

// askHub puts to the hub what gets no answer, and tells it what we know once it was put back.
func (l *letters) askHub(ctx context.Context) {
	var at letter.CircleID
	var named bool
	var questions []exchange.Question
	err := l.circle.Read(func(r machine.Reader) error {
		at, named = exchange.Hub(r)
		questions = exchange.Questions(r, questionsAtOnce)
		return nil
	})
	office := time.Since(l.life.office) > officeEvery
	if err != nil || !named || l.life.asking || len(questions) == 0 && !office {
		return
	}
	if office {
		l.life.office = time.Now()
	}
	reported := l.life.reported
	l.life.asking = true
	l.beside(ctx, func() func() {
		var err error
		if office {
			err = l.report(ctx, at, reported)
		}
		for _, q := range questions {
			if err == nil {
				err = l.question(ctx, at, q)
			}
		}
		if err != nil && ctx.Err() == nil {
			l.log.Info("the hub did not answer yet", "hub", at, "err", err)
		}
		return func() { l.life.asking = false }
	})
}

func (l *letters) question(ctx context.Context, at letter.CircleID, q exchange.Question) error {
	if q.Own {
		q.Proof = letter.Sign(l.keys.Circle, q.Proof.Bytes)
	}
	msg, err := l.ask(ctx, at, courier.Register{
		From: l.keys.CircleID(), To: at, Verdict: uint8(q.Verdict), Proof: q.Proof,
	})
	if err != nil {
		return err
	}
	got, ok := msg.(courier.Certified)
	if !ok {
		return refusedBy(msg)
	}
	body := exchange.TakeVerdict{Certificate: got.Certificate}
	if c, err := payment.ReadCertificate(got.Certificate); err == nil && c.Verdict == payment.Commit {
		if body.Notes, err = l.openNotes([]letter.Signed{c.Proof}); err != nil {
			return err
		}
	}
	_, err = l.asNode(ctx, "exchange.verdict", body)
	return err
}

// refusedBy puts an answer that was not the one hoped for in words.
func refusedBy(msg any) error {
	if r, ok := msg.(courier.Refused); ok {
		return errors.New(r.Code + ": " + r.Message)
	}
	return errors.New("an answer to something else")
}

// report asks the hub for its epoch, and tells it what is known here if it was put back.
func (l *letters) report(ctx context.Context, at letter.CircleID, reported map[letter.CircleID]uint64) error {
	msg, err := l.ask(ctx, at, courier.Report{From: l.keys.CircleID(), To: at})
	if err != nil {
		return err
	}
	office, ok := msg.(courier.Office)
	if !ok {
		return refusedBy(msg)
	}
	var about []letter.CircleID
	if office.Epoch > 0 {
		err = l.circle.Read(func(r machine.Reader) error {
			about = exchange.Reportable(r)
			return nil
		})
	}
	for _, peer := range about {
		if err == nil && reported[peer] < office.Epoch {
			err = l.reportOn(ctx, at, peer, office.Epoch)
		}
		if err == nil {
			reported[peer] = office.Epoch
		}
	}
	return err
}

// reportOn first takes note that nothing of an earlier epoch of the hub counts, and then tells what is known.
func (l *letters) reportOn(ctx context.Context, at, peer letter.CircleID, epoch uint64) error {
	body := exchange.Report{Circle: string(peer), Epoch: epoch}
	if _, err := l.asNode(ctx, "exchange.report", body); err != nil {
		return err
	}
	var all []letter.Signed
	err := l.circle.Read(func(r machine.Reader) error {
		all = exchange.Certificates(r, peer)
		return nil
	})
	for last := false; err == nil && !last; {
		n := min(len(all), courier.MaxReported)
		last = n == len(all)
		var msg any
		msg, err = l.ask(ctx, at, courier.Report{
			From: l.keys.CircleID(), To: at, Peer: peer, Epoch: epoch, Certificates: all[:n], Last: last,
		})
		if o, ok := msg.(courier.Office); err == nil && (!ok || o.Epoch != epoch) {
			err = refusedBy(msg)
		}
		all = all[n:]
	}
	return err
}

// gotRecall gives a peer its own letters back.
func (l *letters) gotRecall(peer exchange.PeerState, m courier.Recall) (any, error) {
	var records []letter.Signed
	err := l.circle.Read(func(r machine.Reader) error {
		records = exchange.Inbox(r, peer.Circle, m.After+1, m.After+courier.MaxBatchRecords)
		return nil
	})
	records = records[:courier.Fit(records)]
	size := 0
	for i, s := range records { // they are to fit into one command there
		if size += len(s.Bytes) + recordFrame; size > maxBatchBytes && i > 0 {
			records = records[:i]
			break
		}
	}
	return courier.Recalled{Records: records}, err
}

// gotRegister is the hub's: it decides on a payment that got no answer.
func (l *letters) gotRegister(ctx context.Context, peer exchange.PeerState, m courier.Register) (any, error) {
	body := hub.Register{Verdict: payment.Verdict(m.Verdict), Proof: m.Proof}
	result, err := l.do(ctx, peer.Circle, "hub.register", body)
	if err != nil {
		return nil, err
	}
	raw := result.(hub.Registered).Certificate
	return courier.Certified{Certificate: letter.Signed{
		Bytes: raw, Sig: letter.ForVerdict.Sign(l.keys.Circle, raw),
	}}, nil
}

// gotReport is the hub's: it hears what a circle knows of its verdicts.
func (l *letters) gotReport(ctx context.Context, peer exchange.PeerState, m courier.Report) (any, error) {
	if m.Peer != "" {
		body := hub.Report{Peer: string(m.Peer), Epoch: m.Epoch, Certificates: m.Certificates, Last: m.Last}
		if _, err := l.do(ctx, peer.Circle, "hub.report", body); err != nil {
			return nil, err
		}
	}
	var office courier.Office
	err := l.circle.Read(func(r machine.Reader) error {
		office.Epoch = hub.Epoch(r)
		return nil
	})
	return office, err
}
