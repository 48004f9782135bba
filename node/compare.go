package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
	"github.com/carecircle/carecircle/node/auth"
)

const (
	compareAtMost = 45 * time.Second
	compareTries  = 3 // what is paid meanwhile looks different
	compareAgain  = time.Second
)

// Compare compares this circle's books of another with that circle's own, payment by payment, over the
// network, for who may see "exchange.books". Errors for the caller are refusals.
func (n *Node) Compare(ctx context.Context, by machine.Caller, circle string) (exchange.Comparison, error) {
	ctx, cancel := context.WithTimeout(ctx, compareAtMost)
	defer cancel()
	for try := 1; ; try++ {
		begun, err := n.View(ctx, by, "exchange.books", func(q any) error {
			q.(*exchange.WhichBooks).Circle = circle
			return nil
		})
		if err != nil {
			return exchange.Comparison{}, err
		}
		c := begun.(exchange.Comparison)
		if err := n.letters.compare(ctx, &c); err != nil {
			n.options.Log.Info("books were not compared", "circle", circle, "err", err)
			return c, machine.Later("not_reached", "%s does not answer just now, so its books cannot be"+
				" compared with ours. Try again later.", c.Name)
		}
		if c.Agree || try == compareTries {
			return c, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(compareAgain):
		}
	}
}

func (l *letters) compare(ctx context.Context, c *exchange.Comparison) (err error) {
	peer := letter.CircleID(c.Circle)
	for _, side := range []payment.Side{payment.Payer, payment.Payee} {
		for after := (payment.TID{}); err == nil && after != exchange.LastTID(); {
			after, err = l.comparePiece(ctx, c, peer, side, after)
		}
	}
	if err != nil {
		return err
	}
	return l.circle.Read(func(r machine.Reader) error {
		c.Finish(r)
		return nil
	})
}

// comparePiece compares one run of payments and returns how far it went.
func (l *letters) comparePiece(
	ctx context.Context, c *exchange.Comparison, peer letter.CircleID, side payment.Side, after payment.TID,
) (payment.TID, error) {
	us := l.keys.CircleID()
	ask := courier.BooksAsk{From: us, To: peer, Payer: us, After: after}
	if side == payment.Payee {
		ask.Payer = peer
	}
	var ours []courier.BooksLine
	err := l.circle.Read(func(r machine.Reader) error {
		ours, ask.Through = exchange.Lines(r, peer, side, after, exchange.LastTID(), courier.BooksPiece)
		return nil
	})
	if err != nil {
		return after, err
	}
	ask.Digest = courier.DigestOf(ours)
	msg, err := l.ask(ctx, peer, ask)
	if err != nil {
		return after, err
	}
	tell, ok := msg.(courier.BooksTell)
	if !ok {
		return after, refusedBy(msg)
	}
	if !tell.Same && tell.Through != ask.Through { // they have many more there: as far as they told
		to := tell.Through[:]
		if bytes.Compare(to, after[:]) <= 0 || bytes.Compare(to, ask.Through[:]) > 0 {
			return after, errors.New("an answer that leads nowhere")
		}
		err = l.circle.Read(func(r machine.Reader) error {
			ours, _ = exchange.Lines(r, peer, side, after, tell.Through, courier.BooksPiece)
			return nil
		})
		ask.Through = tell.Through
	}
	if err == nil {
		err = l.circle.Read(func(r machine.Reader) error {
			c.Take(r, side == payment.Payee, ours, tell)
			return nil
		})
	}
	return ask.Through, err
}

// gotBooksAsk tells another circle what payments between the two there are.
func (l *letters) gotBooksAsk(peer exchange.PeerState, m courier.BooksAsk) (any, error) {
	if m.From != peer.Circle || m.To != l.keys.CircleID() {
		return courier.Refused{Code: courier.Malformed, Message: "not in this circle's name"}, nil
	}
	var tell courier.BooksTell
	err := l.circle.Read(func(r machine.Reader) error {
		tell = exchange.TellBooks(r, m)
		return nil
	})
	return tell, err
}

func (n *Node) compareRoute(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/compare/{circle}", n.operatorOnly(func(w http.ResponseWriter,
		r *http.Request,
	) error {
		by, _ := auth.CallerFrom(r.Context())
		c, err := n.Compare(r.Context(), by, r.PathValue("circle"))
		var refusal *machine.Error
		if errors.As(err, &refusal) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(auth.StatusOf(refusal.Code))
			return writeJSON(w, refusal)
		}
		if err != nil {
			return fmt.Errorf("compare: %w", err)
		}
		return writeJSON(w, c)
	}))
}
