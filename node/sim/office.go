package sim

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// askOffice asks the hub for its epoch, and tells it what is known here once it was put back.
func (t *town) askOffice() {
	if t.officeAsked || !t.up || t == t.s.hub || exchange.Life(t.state()) != t.nx {
		return
	}
	t.officeAsked = true
	t.ask(t.s.hub.id, courier.Report{From: t.id, To: t.s.hub.id}, func(msg any) {
		t.officeAsked = false
		o, ok := msg.(courier.Office)
		if !ok || o.Epoch == 0 {
			return
		}
		for _, peer := range exchange.Reportable(t.state()) {
			if t.reported[peer] < o.Epoch {
				t.report(peer, o.Epoch)
			}
		}
	})
}

// report first takes note that nothing of an earlier epoch counts any more, and then says what is known.
func (t *town) report(peer letter.CircleID, epoch uint64) {
	body := exchange.Report{Circle: string(peer), Epoch: epoch}
	t.asNode("exchange.report", body, func(out machine.Outcome) {
		if out.Refusal == nil {
			t.s.res.Reports++
			t.sendReport(peer, epoch, exchange.Certificates(t.state(), peer))
		}
	})
}

func (t *town) sendReport(peer letter.CircleID, epoch uint64, all []letter.Signed) {
	n := min(len(all), courier.MaxReported)
	ask := courier.Report{
		From: t.id, To: t.s.hub.id, Peer: peer, Epoch: epoch, Certificates: all[:n], Last: n == len(all),
	}
	t.ask(t.s.hub.id, ask, func(msg any) {
		o, ok := msg.(courier.Office)
		switch {
		case !ok || o.Epoch != epoch: // once more when the hub is asked again
		case ask.Last:
			t.reported[peer] = epoch
		default:
			t.sendReport(peer, epoch, all[n:])
		}
	})
}

// gotReport is the hub's answer.
func (t *town) gotReport(from *town, m courier.Report, reply func(any)) {
	office := courier.Office{Epoch: hub.Epoch(t.state())}
	if m.Peer == "" {
		reply(office)
		return
	}
	body := hub.Report{Peer: string(m.Peer), Epoch: m.Epoch, Certificates: m.Certificates, Last: m.Last}
	t.fromPeer(from, "hub.report", body, reply, func(any) any { return office })
}
