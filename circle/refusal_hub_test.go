package circle_test

import (
	"testing"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// stageLife is the life of the stage's letters.
var stageLife = courier.Nonce{0x11}

// beginLife has the stage's circle begin a life in which one circle was heard, and another holds a letter of
// ours that we have forgotten; the latter is the hub, and so are we for others.
func beginLife(t *testing.T, s *stage) {
	t.Helper()
	s.hb.must("node", "exchange.begin", exchange.Begin{Nx: stageLife})
	s.hb.must("node", "exchange.welcomed", exchange.HearWelcome{Welcome: s.welcome(t, s.bh, s.heldBy(s.bh))})
	_, at := s.forgotten(t)
	s.hb.must("node", "exchange.welcomed", exchange.HearWelcome{Welcome: s.welcome(t, s.td, at)})
	s.hb.must("operator", "exchange.hub", exchange.SetHub{Circle: string(s.td.id)})
	s.hb.must("operator", "hub.open", hub.Open{})
	s.session = courier.Nonce{1, 2, 3}
	by := machine.Caller{Actor: machine.PeerActor(string(s.bh.id))}
	session := exchange.Session{Nx: s.session, Ny: s.session}
	if out := s.hb.send(s.hb.command(by, "exchange.session", session)); out.Refusal != nil {
		t.Fatal(out.Refusal)
	}
}

// heldBy is how far another circle holds our letters.
func (s *stage) heldBy(w *town) letter.Position {
	for _, p := range exchange.Peers(w.kv) {
		if p.Circle == s.hb.id {
			return p.Held
		}
	}
	return letter.Position{}
}

func (s *stage) welcome(t *testing.T, from *town, held letter.Position) courier.Welcome {
	t.Helper()
	w, err := courier.SignWelcome(from.key, courier.Welcome{
		Nx: stageLife, Ny: courier.Nonce{1}, Held: held, From: from.id, To: s.hb.id,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// forgotten is our first letter to Todmorden, of a time that our books do not know.
func (s *stage) forgotten(t *testing.T) (letter.Signed, letter.Position) {
	t.Helper()
	terms, err := letter.Marshal(exchange.Terms{LimitMinutes: 600, ReviewOn: "2026-09-30"})
	if err != nil {
		t.Fatal(err)
	}
	_, raw, at, err := letter.Next(letter.Position{}, letter.Record{
		Kind: letter.Offer, From: s.hb.id, To: s.td.id, Body: terms, At: s.hb.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return letter.Sign(s.hb.key, raw), at
}

// verdict is what a hub signs about a payment of a circle's, with its PROPOSE as proof.
func verdict(t *testing.T, by, payer, payee *town, tid payment.TID, proof letter.Signed) letter.Signed {
	t.Helper()
	raw, err := payment.Certificate{
		Hub: by.id, Payer: payer.id, Payee: payee.id, TID: tid, Verdict: payment.Abort, Index: 1,
		Proof: proof,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return letter.Signed{Bytes: raw, Sig: letter.ForVerdict.Sign(by.key, raw)}
}

// offered is a PROPOSE between two other circles, long past its time.
func offered(t *testing.T, from, to *town, expiry int64) letter.Signed {
	t.Helper()
	body, err := payment.ProposeBody{
		TID: payment.TID{5}, Minutes: 60, Alias: "TESS2222", Expiry: expiry,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	_, raw, _, err := letter.Next(letter.Position{}, letter.Record{
		Kind: letter.Propose, From: from.id, To: to.id, Body: body,
	})
	if err != nil {
		t.Fatal(err)
	}
	return letter.Sign(from.key, raw)
}

func lifeCases(t *testing.T, s *stage) map[string]kindCase {
	known := s.welcome(t, s.bh, s.heldBy(s.bh))
	other, forged := known, known
	other.Nx = courier.Nonce{9}
	forged.Held.Seq++
	stranger := newTown(t, "Mytholmroyd")
	mine, _ := s.forgotten(t)
	foreign := offered(t, s.bh, s.td, 1)
	recall := func(circle letter.CircleID, records ...letter.Signed) exchange.Recall {
		return exchange.Recall{Circle: string(circle), Records: records}
	}
	heard := func(w courier.Welcome) exchange.HearWelcome { return exchange.HearWelcome{Welcome: w} }
	td := s.td.id
	begin := exchange.Begin{Nx: courier.Nonce{2}}
	return map[string]kindCase{
		"exchange.begin": {good: asked{by: "node", body: begin}, refused: []asked{
			{"node", "", exchange.Begin{}, "malformed"},
			{"operator", "", begin, "not_allowed"},
			{"Farida", "", begin, "not_allowed"},
		}},
		"exchange.welcomed": {good: asked{by: "node", body: heard(known)}, refused: []asked{
			{"Farida", "", heard(known), "not_allowed"},
			{machine.PeerActor(string(s.bh.id)), "", heard(known), "not_allowed"},
			{"node", "", heard(other), "session_void"},
			{"node", "", heard(forged), "malformed"},
			{"node", "", heard(s.welcome(t, stranger, letter.Position{})), "unknown_circle"},
		}},
		"exchange.recall": {good: asked{by: "node", body: recall(td, mine)}, refused: []asked{
			{"Farida", "", recall(td, mine), "not_allowed"},
			{"node", "", recall(s.bh.id, mine), "nothing_to_recall"},
			{"node", "", recall(stranger.id, mine), "unknown_circle"},
			{"node", "", recall(td), "malformed"},
			{"node", "", recall(td, foreign), "malformed"},
			{"node", "", recall(td, letter.Signed{Bytes: mine.Bytes, Sig: foreign.Sig}), "malformed"},
		}},
		"exchange.report": {
			good: asked{by: "node", body: exchange.Report{Circle: string(s.bh.id)}},
			refused: []asked{
				{"Farida", "", exchange.Report{Circle: string(s.bh.id)}, "not_allowed"},
				{"node", "", exchange.Report{Circle: string(stranger.id)}, "unknown_circle"},
			},
		},
	}
}

func hubCases(t *testing.T, s *stage) map[string]kindCase {
	stranger := newTown(t, "Mytholmroyd")
	tid := payment.TID(s.abroad)
	ours := exchange.Outbox(s.hb.kv, s.bh.id, 1, 1<<40)
	proof := letter.Sign(s.hb.key, ours[len(ours)-1])
	take := func(c letter.Signed) exchange.TakeVerdict { return exchange.TakeVerdict{Certificate: c} }
	good := take(verdict(t, s.td, s.hb, s.bh, tid, proof))
	past, future := offered(t, s.bh, s.td, 1), offered(t, s.bh, s.td, s.hb.now+100*day)
	forged := letter.Signed{Bytes: past.Bytes, Sig: future.Sig}
	ask := func(v payment.Verdict, proof letter.Signed) hub.Register {
		return hub.Register{Verdict: v, Proof: proof}
	}
	payer, third := machine.PeerActor(string(s.bh.id)), machine.PeerActor(string(stranger.id))
	about := hub.Report{Peer: string(s.td.id), Last: true}
	return map[string]kindCase{
		"exchange.hub": {
			good: asked{by: "Farida", body: exchange.SetHub{Circle: string(s.bh.id)}},
			refused: []asked{
				{"Alice", "", exchange.SetHub{Circle: string(s.bh.id)}, "hat_missing"},
				{"Farida", "", exchange.SetHub{Circle: string(stranger.id)}, "unknown_circle"},
				{"Farida", "", exchange.SetHub{}, "unknown_circle"},
			},
		},
		"exchange.verdict": {good: asked{by: "node", body: good}, refused: []asked{
			{"Farida", "", good, "not_allowed"},
			{"node", "", take(verdict(t, s.bh, s.hb, s.bh, tid, proof)), "bad_verdict"},
			{"node", "", take(verdict(t, s.td, s.bh, stranger, tid, proof)), "bad_verdict"},
			{"node", "", take(verdict(t, s.td, s.hb, s.bh, payment.TID{9}, proof)), "bad_verdict"},
			{"node", "", take(verdict(t, s.td, s.hb, stranger, tid, proof)), "unknown_circle"},
			{"node", "", take(letter.Signed{}), "bad_verdict"},
		}},
		"hub.open": {good: asked{by: "Farida", body: hub.Open{}}, refused: []asked{
			{"Alice", "", hub.Open{}, "hat_missing"},
			{"node", "", hub.Open{}, "hat_missing"},
		}},
		"hub.register": {good: asked{by: payer, body: ask(payment.Abort, past)}, refused: []asked{
			{"Farida", "", ask(payment.Abort, past), "not_allowed"},
			{third, "", ask(payment.Abort, past), "bad_question"},
			{payer, "", ask(payment.Commit, past), "bad_question"},
			{payer, "", ask(payment.Abort, future), "too_early"},
			{payer, "", ask(payment.Abort, forged), "bad_question"},
			{payer, "", ask(payment.Abort, letter.Signed{}), "bad_question"},
		}},
		"hub.report": {good: asked{by: payer, body: about}, refused: []asked{
			{"Farida", "", about, "not_allowed"},
			{payer, "", hub.Report{Peer: string(s.td.id), Epoch: 4}, "epoch_old"},
			{payer, "", hub.Report{Peer: "nobody"}, "malformed"},
			{payer, "", hub.Report{Peer: string(s.td.id), Certificates: []letter.Signed{past}}, "malformed"},
		}},
	}
}
