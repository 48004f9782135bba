package node

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/finder"
)

const (
	directoryDir = "directory" // in the node's directory
	cardsEvery   = time.Second
	wantEvery    = 10 * time.Second
	askAgain     = 5 * time.Second // who did not say yet that a card is gone
	sweepEvery   = time.Hour
	wantPatience = 20 * time.Second
)

// cards keeps the directory of members: each replica on its own gets the cards of other circles and signs
// those of its own circle; the one that leads has those that were taken back forgotten elsewhere.
type cards struct {
	letters *letters
	ask     func(ctx context.Context, to letter.CircleID, msg any) (any, error)
	finder  *finder.Finder
	swept   time.Time

	mu   sync.Mutex
	busy map[string]time.Time     // what is under way, or not to be done again before
	done map[string]courier.Nonce // what is not to be done again in this life of the other circle
	full map[letter.CircleID]bool
}

func openCards(l *letters, dir string) (*cards, error) {
	dir = filepath.Join(dir, directoryDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	key, err := hkdf.Key(sha256.New, l.keys.Store[:], nil, "carecircle directory v1", 32)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	f, err := finder.Open(dir, key)
	if err != nil {
		return nil, err
	}
	return &cards{
		letters: l, ask: l.ask, finder: f, busy: map[string]time.Time{}, done: map[string]courier.Nonce{},
		full: map[letter.CircleID]bool{},
	}, nil
}

// Find searches among the members of all circles that this machine has heard of. Its answers are for members
// of this circle; the error is a refusal for others.
func (n *Node) Find(
	ctx context.Context, by machine.Caller, q directory.Query,
) ([]directory.Found, int, error) {
	if _, err := n.View(ctx, by, "findable.mine", nil); err != nil {
		return nil, 0, err
	}
	q.Now = time.Now().UnixMilli()
	return n.letters.members.finder.Search(q)
}

func (c *cards) run(ctx context.Context) {
	tick := time.NewTicker(cardsEvery)
	defer tick.Stop()
	for {
		if err := c.work(ctx); err != nil && ctx.Err() == nil {
			c.letters.log.Warn("the directory of members", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *cards) work(ctx context.Context) error {
	if err := c.sweep(); err != nil {
		return err
	}
	circles := c.circles()
	for _, id := range circles {
		c.beside(ctx, "want "+string(id), wantEvery, func() error { return c.want(ctx, id, circles) })
	}
	if err := c.own(ctx); err != nil || !c.letters.leads() {
		return err
	}
	var open []findable.Unanswered
	var out []findable.Outgoing
	err := c.letters.circle.Read(func(r machine.Reader) error {
		open = findable.Recalls(r)
		out = findable.Outgoings(r, c.letters.sealer.machine.Opened(machine.Read{Reader: r}).Bytes)
		return nil
	})
	for _, o := range out {
		what := fmt.Sprint("contact ", o.Circle, o.ID, o.Answer)
		c.beside(ctx, what, askAgain, func() error { return c.contact(ctx, o) })
	}
	if err == nil {
		err = errors.Join(c.moves(ctx), c.rounds(ctx), c.federation(ctx))
	}
	for _, u := range open {
		c.beside(ctx, "gone "+string(u.Circle)+u.Card.ID, askAgain, func() error { return c.recall(ctx, u) })
	}
	return err
}

// beside does something once at a time, and not again for a while.
func (c *cards) beside(ctx context.Context, what string, pause time.Duration, do func() error) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.busy[what]) {
		return
	}
	c.busy[what] = now.Add(wantPatience)
	go func() {
		err := do()
		if err != nil && ctx.Err() == nil {
			c.letters.log.Info("the directory of members: no answer yet", "what", what, "err", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.busy[what] = time.Now().Add(pause)
	}()
}

func (c *cards) sweep() error {
	now := time.Now()
	if now.Sub(c.swept) < sweepEvery {
		return nil
	}
	c.swept = now
	_, err := c.finder.Sweep(now.UnixMilli())
	return err
}

// circles are those that this one knows and can reach.
func (c *cards) circles() []letter.CircleID {
	seen := map[letter.CircleID]bool{}
	var out []letter.CircleID
	for _, p := range *c.letters.known.Load() {
		if !seen[p.Circle] {
			seen[p.Circle] = true
			out = append(out, p.Circle)
		}
	}
	return out
}

// own signs the cards of this circle that are new, and notices when others have later ones than its books:
// then these were put back to an older copy, and what they forgot is taken back everywhere.
func (c *cards) own(ctx context.Context) error {
	us := c.letters.keys.CircleID()
	had := c.finder.Vector().Of(us)
	var count uint64
	var due bool
	var fresh []directory.Card
	err := c.letters.circle.Read(func(r machine.Reader) error {
		if count, due = findable.Count(r), findable.Due(r, time.Now().UnixMilli()); count > had {
			fresh = findable.Cards(r, had, c.letters.sealer.machine.Opened(machine.Read{Reader: r}).Bytes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	signed := make([]letter.Signed, 0, len(fresh))
	for _, card := range fresh {
		s, err := directory.Seal(c.letters.keys.Circle, card)
		if err != nil {
			return err
		}
		signed = append(signed, s)
	}
	if _, err := c.finder.Put(signed); err != nil {
		return err
	}
	if behind := had > count; (behind || due) && c.letters.leads() {
		return c.renew(ctx, behind, had)
	}
	return nil
}

func (c *cards) renew(ctx context.Context, behind bool, had uint64) error {
	var body findable.Renew
	if behind {
		body.After = had
		ours, err := c.finder.Of(c.letters.keys.CircleID())
		if err != nil {
			return err
		}
		err = c.letters.circle.Read(func(r machine.Reader) error {
			for _, s := range ours {
				card, err := directory.Decode(s.Bytes)
				lost := err == nil && (card.Gone || !findable.Knows(r, card.ID))
				if lost && len(body.Lost) < findable.MaxRenewedAtOnce {
					body.Lost = append(body.Lost, s)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	_, err := c.letters.asNode(ctx, "findable.renew", body)
	return err
}

// want asks a circle for what it has and this machine has not, until there is no more.
func (c *cards) want(ctx context.Context, from letter.CircleID, circles []letter.CircleID) error {
	for ctx.Err() == nil {
		msg, err := c.ask(ctx, from, courier.Want{
			From: c.letters.keys.CircleID(), To: from, Have: c.have(circles),
		})
		if err != nil {
			return err
		}
		got, ok := msg.(courier.Cards)
		if !ok {
			return refusedBy(msg)
		}
		if took, err := c.take(got.Cards); err != nil || took == 0 {
			return err
		}
	}
	return ctx.Err()
}

// have says how far the cards of each circle are known here; circles with too many are left out.
func (c *cards) have(circles []letter.CircleID) directory.Vector {
	has := c.finder.Vector()
	us := c.letters.keys.CircleID()
	out := directory.Vector{{Circle: us, Seq: has.Of(us)}}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range circles {
		if !c.full[id] && len(out) < courier.MaxHeads {
			out = append(out, directory.Head{Circle: id, Seq: has.Of(id)})
		}
	}
	return out.Sorted()
}

// take keeps cards that their circles signed.
func (c *cards) take(all []letter.Signed) (took int, err error) {
	for _, s := range all {
		card, err := c.verified(s)
		if err != nil {
			return took, err
		}
		n, err := c.finder.Put([]letter.Signed{s})
		if errors.Is(err, finder.ErrTooMany) {
			c.letters.log.Warn("a circle has more members' cards than this machine takes", "circle",
				card.Circle)
			c.mu.Lock()
			c.full[card.Circle] = true
			c.mu.Unlock()
			err = nil
		}
		if err != nil {
			return took, err
		}
		took += n
	}
	return took, nil
}

// verified reads a card and checks that its circle signed it, and that it does not count for too long.
func (c *cards) verified(s letter.Signed) (directory.Card, error) {
	card, err := directory.Decode(s.Bytes)
	if err != nil {
		return card, err
	}
	if card.Until > time.Now().UnixMilli()+directory.MaxLifeMillis {
		return card, fmt.Errorf("a card of %s counts for too long: %w", card.Circle, directory.ErrCard)
	}
	var key []byte
	err = c.letters.circle.Read(func(r machine.Reader) error {
		if us, _ := member.TheCircle(r); us.ID == string(card.Circle) {
			key = us.Key
		} else {
			key, _ = exchange.KeyOf(r, card.Circle)
		}
		return nil
	})
	if err != nil {
		return card, err
	}
	if err := directory.Verify(key, s); err != nil {
		return card, fmt.Errorf("a card of %s: %w", card.Circle, err)
	}
	return card, nil
}

// recall has a circle forget a card that was taken back, and keeps its word that it did.
func (c *cards) recall(ctx context.Context, u findable.Unanswered) error {
	signed, err := directory.Seal(c.letters.keys.Circle, u.Card)
	if err != nil {
		return err
	}
	msg, err := c.ask(ctx, u.Circle, courier.Withdrawn{
		From: c.letters.keys.CircleID(), To: u.Circle, Card: signed,
	})
	if err != nil {
		return err
	}
	got, ok := msg.(courier.Receipt)
	if !ok {
		return refusedBy(msg)
	}
	_, err = c.letters.asNode(ctx, "findable.acknowledge", findable.Acknowledge{Ack: got.Ack})
	return err
}

// contact takes a question or an answer to the other circle.
func (c *cards) contact(ctx context.Context, o findable.Outgoing) error {
	us := c.letters.keys.CircleID()
	var ask any = courier.Contact{From: us, To: o.Circle, ID: o.ID, Card: o.Card, Words: o.Words}
	if o.Answer {
		ask = courier.Reply{From: us, To: o.Circle, ID: o.ID, Yes: o.Yes, Words: o.Words}
	}
	refused, err := c.tell(ctx, o.Circle, ask, "not_shown", "not_asked")
	if err != nil {
		return err
	}
	_, err = c.letters.asNode(ctx, "findable.delivered", findable.Delivered{
		Circle: string(o.Circle), ID: o.ID, Answer: o.Answer, Refused: refused,
	})
	return err
}

// tell sends a message that Told answers. Of refusals those named are final, and returned; after any other
// the message is to be sent again.
func (c *cards) tell(
	ctx context.Context, to letter.CircleID, msg any, final ...string,
) (refused string, err error) {
	reply, err := c.ask(ctx, to, msg)
	if err != nil {
		return "", err
	}
	switch m := reply.(type) {
	case courier.Told:
		return "", nil
	case courier.Refused:
		if slices.Contains(final, m.Code) {
			return m.Code, nil
		}
	}
	return "", refusedBy(reply)
}

func (c *cards) gotContact(ctx context.Context, peer exchange.PeerState, m courier.Contact) error {
	body := findable.Contact{ID: m.ID, Card: m.Card, Words: machine.Text("", m.Words)}
	_, err := c.letters.do(ctx, peer.Circle, "findable.contact", body)
	return err
}

func (c *cards) gotReply(ctx context.Context, peer exchange.PeerState, m courier.Reply) error {
	body := findable.Reply{ID: m.ID, Yes: m.Yes, Words: machine.Text("", m.Words)}
	_, err := c.letters.do(ctx, peer.Circle, "findable.reply", body)
	return err
}

func (c *cards) gotWant(m courier.Want) (any, error) {
	all, err := c.finder.After(m.Have, courier.MaxCards, courier.MaxCardsBytes)
	return courier.Cards{Cards: all}, err
}

func (c *cards) gotWithdrawn(peer exchange.PeerState, m courier.Withdrawn) (any, error) {
	card, err := c.verified(m.Card)
	if err != nil || card.Circle != peer.Circle || !card.Gone {
		return courier.Refused{Code: courier.Malformed, Message: "no card of yours that was taken back"}, nil
	}
	if _, err := c.finder.Put([]letter.Signed{m.Card}); err != nil {
		return nil, err
	}
	ack, err := directory.Ack{
		Holder: c.letters.keys.CircleID(), Circle: card.Circle, ID: card.ID, Seq: card.Seq,
		At: time.Now().UnixMilli(),
	}.Sign(c.letters.keys.Circle)
	return courier.Receipt{Ack: ack}, err
}

func (c *cards) close() error { return c.finder.Close() }
