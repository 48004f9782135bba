package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/joining"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/p2p"
	"github.com/carecircle/carecircle/node/api"
)

const (
	lettersEvery  = 100 * time.Millisecond
	expireEvery   = time.Second
	maxBatchBytes = machine.MaxCommandBytes - 8<<10 // of records in one command
	recordFrame   = 128                             // of a record in a command: its signature and lengths
	wordsFrame    = 2 << 10                         // of an opened memo in a command
)

// letters carries this circle's outbox to its peers and takes theirs. What to send, and when, the courier
// says; what is sent is rows of the outbox; what comes is proposed as commands.
type letters struct {
	circle   replicaOf
	asNode   func(ctx context.Context, kind string, body any) (any, error)
	leads    func() bool
	sealer   *sealer
	keys     Keys
	host     *p2p.Host
	log      *slog.Logger
	courier  *courier.Courier // of this life; nil while this replica does not lead
	life     life
	known    atomic.Pointer[map[string]exchange.PeerState]  // by libp2p peer id
	cards    map[letter.CircleID]charter.Card               // opened; for run alone
	addrs    atomic.Pointer[map[letter.CircleID][][]string] // of each of the circles' machines
	near     sync.Map                                       // by circle: which of its machines answered last
	card     *atomic.Pointer[[]byte]                        // our own, as sealed
	relayed  atomic.Pointer[[]string]                       // where we are reached through a relay
	inviting atomic.Bool                                    // strangers may ask to join
	knocks   *rate.Limiter
	checked  *verified
	members  *cards
	origin   string // of our pages
	allowed  *allowance
	done     chan func() // what is to be done in run
	status   atomic.Pointer[[]courier.PeerStatus]
}

// replicaOf is what letters needs of the running circle.
type replicaOf interface {
	Do(ctx context.Context, c machine.Command) (machine.Outcome, error)
	Read(fn func(machine.Reader) error) error
	Watch() (<-chan []machine.Event, func())
}

func newNonce() (courier.Nonce, error) {
	var n courier.Nonce
	_, err := rand.Read(n[:])
	return n, err
}

func (n *Node) openLetters(ctx context.Context) error {
	l := &letters{
		circle: n, asNode: n.resultAsNode, leads: n.leads, sealer: n.sealer, keys: n.Keys, log: n.options.Log,
		done: make(chan func()), life: newLife(), checked: n.verified,
		origin:  n.Config.origin(),
		allowed: newAllowance(n.options.Log), knocks: newKnocks(), card: &n.card,
	}
	l.addrs.Store(&map[letter.CircleID][][]string{})
	l.cards = map[letter.CircleID]charter.Card{}
	l.known.Store(&map[string]exchange.PeerState{})
	l.status.Store(&[]courier.PeerStatus{})
	var err error
	if l.members, err = openCards(l, n.Dir); err != nil {
		return err
	}
	l.host, err = p2p.New(p2p.Config{
		Key: n.Keys.Host, Listen: n.Config.Letters, Allow: l.allow, Handle: l.handle, Log: n.options.Log,
		MaxMessageBytes: courier.MaxMessageBytes, Knock: l.knocked, Knocking: l.inviting.Load,
	})
	if err != nil {
		return fmt.Errorf("letters: %w", err)
	}
	n.letters = l
	if err := n.register(ctx); err != nil {
		return err
	}
	if err := n.makeCard(); err != nil {
		return err
	}
	l.meetPeers()
	n.running.Go(func() { l.run(ctx) })
	n.running.Go(func() { l.members.run(ctx) })
	places := &relays{letters: l, changed: func(ctx context.Context) error {
		return errors.Join(n.register(ctx), n.makeCard())
	}}
	n.running.Go(func() { places.run(ctx) })
	return nil
}

func (l *letters) close() error { return errors.Join(l.host.Close(), l.members.close()) }

// run asks the courier what to do whenever something may have changed, until ctx ends.
func (l *letters) run(ctx context.Context) {
	news, stop := l.circle.Watch()
	defer stop()
	tick := time.NewTicker(lettersEvery)
	defer tick.Stop()
	l.meetPeers()
	for {
		l.live(ctx)
		l.follow(ctx)
		status := []courier.PeerStatus{}
		if l.courier != nil { // the others have the same rows, and carry on from them when they lead
			l.courier.Tick(time.Now().UnixMilli())
			for _, r := range l.courier.Ready() {
				l.start(ctx, r)
			}
			l.chores(ctx)
			status = l.courier.Status()
		}
		l.status.Store(&status)
		select {
		case <-ctx.Done():
			return
		case do := <-l.done:
			do()
		case <-news:
		case <-tick.C:
			l.meetPeers()
		}
	}
}

// beside does work that waits, beside run; what it returns is done in run afterwards.
func (l *letters) beside(ctx context.Context, work func() (then func())) {
	go func() {
		then := work()
		select {
		case l.done <- then:
		case <-ctx.Done():
		}
	}()
}

// meetPeers tells the gate which circles are known, and what is to be followed.
func (l *letters) meetPeers() {
	var peers []exchange.PeerState
	var closed []letter.CircleID
	now := time.Now().UnixMilli()
	err := l.circle.Read(func(r machine.Reader) error {
		peers, closed = exchange.Peers(r), joining.Closed(r)
		l.inviting.Store(joining.Inviting(r, now))
		return nil
	})
	if err != nil {
		return // the replica has stopped; so will we
	}
	known, addrs := map[string]exchange.PeerState{}, map[letter.CircleID][][]string{}
	for _, p := range peers {
		if slices.Contains(closed, p.Circle) {
			l.removed(p.Circle)
			continue
		}
		card, opened := l.cards[p.Circle]
		if !opened || card.Seq != p.CardSeq { // opening checks a signature: once a card
			if card, err = charter.OpenCard(p.Card); err != nil {
				l.log.Error("a kept card cannot be read", "circle", p.Circle, "err", err)
				continue
			}
			l.cards[p.Circle] = card
		}
		addrs[p.Circle] = p2p.ByPeer(card.Addrs)
		for _, h := range card.Hosts {
			if now < h.Until {
				known[h.Peer] = p
			}
		}
	}
	before := l.known.Swap(&known)
	l.addrs.Store(&addrs)
	for host := range *before {
		if _, still := known[host]; !still {
			l.host.Drop(host)
		}
	}
}

// follow tells the courier how far our streams to the known circles go.
func (l *letters) follow(ctx context.Context) {
	if l.courier == nil {
		return
	}
	circles := slices.Collect(maps.Keys(*l.addrs.Load()))
	var streams []exchange.Stream
	err := l.circle.Read(func(r machine.Reader) error {
		streams = exchange.Streams(r, circles)
		return nil
	})
	if err != nil {
		return // the replica has stopped; so will we
	}
	for _, s := range streams {
		if s.Frozen {
			l.courier.Remove(s.Circle)
			continue
		}
		l.courier.Peer(s.Circle, s.Tail)
		l.courier.Began(s.Circle, s.Life)
		l.takeBack(ctx, s)
	}
}

// removed stops sending to a circle that is in the federation no more.
func (l *letters) removed(id letter.CircleID) {
	if l.courier != nil {
		l.courier.Remove(id)
	}
}

func (l *letters) allow(peer string) bool {
	_, ok := (*l.known.Load())[peer]
	if !ok && !l.inviting.Load() { // or else they may have come to join
		l.allowed.warn("a machine of no circle that is known here was turned away", "peer", peer)
	}
	return ok
}

// start does one request of the courier; what takes time happens beside.
func (l *letters) start(ctx context.Context, r courier.Request) {
	c := l.courier
	if r.Kind == courier.Opened {
		l.beside(ctx, func() func() {
			heard := l.hear(ctx, r.Welcome)
			return func() { c.Confirm(r, heard) }
		})
		return
	}
	l.beside(ctx, func() func() {
		msg, err := l.send(ctx, r)
		return func() {
			now := time.Now().UnixMilli()
			if err != nil {
				c.Failed(r, err.Error(), now)
				return
			}
			c.Replied(r, msg, now)
		}
	})
}

func (l *letters) send(ctx context.Context, r courier.Request) (any, error) {
	var msg any = r.Open
	if r.Kind == courier.SendBatch {
		err := l.circle.Read(func(rd machine.Reader) error {
			msg = l.batch(rd, r)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return l.ask(ctx, r.Peer, msg)
}

// ask sends a message to another circle and returns its answer.
func (l *letters) ask(ctx context.Context, to letter.CircleID, msg any) (any, error) {
	raw, err := courier.Encode(msg)
	if err != nil {
		return nil, err
	}
	reply, err := l.oneOf(ctx, to, func(addrs []string) ([]byte, error) {
		return l.host.Ask(ctx, addrs, raw)
	})
	if err != nil {
		return nil, err
	}
	return courier.Decode(reply)
}

// knock is ask of a circle that does not know this one.
func (l *letters) knock(ctx context.Context, to letter.CircleID, msg any) (any, error) {
	raw, err := courier.Encode(msg)
	if err != nil {
		return nil, err
	}
	reply, err := l.oneOf(ctx, to, func(addrs []string) ([]byte, error) {
		return l.host.Knock(ctx, addrs, raw)
	})
	if err != nil {
		return nil, err
	}
	return courier.Decode(reply)
}

// oneOf asks a circle's machines one after the other until one answers, and first the one that did last.
func (l *letters) oneOf(
	ctx context.Context, to letter.CircleID, ask func(addrs []string) ([]byte, error),
) (reply []byte, err error) {
	hosts := (*l.addrs.Load())[to]
	if len(hosts) == 0 {
		return nil, errors.New("no address of that circle is known")
	}
	first := 0
	if last, ok := l.near.Load(to); ok {
		first = last.(int) % len(hosts)
	}
	for i := range hosts {
		at := (first + i) % len(hosts)
		if reply, err = ask(hosts[at]); err == nil {
			l.near.Store(to, at)
			return reply, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// batch signs the rows asked for. Any later leader would sign the very same.
func (l *letters) batch(rd machine.Reader, r courier.Request) courier.Batch {
	b := courier.Batch{Nx: r.Nx, Ny: r.Ny, From: l.keys.CircleID(), To: r.Peer}
	size := 0
	for _, raw := range exchange.Outbox(rd, r.Peer, r.FromSeq, r.ToSeq) {
		if size += len(raw) + recordFrame; size > maxBatchBytes && len(b.Records) > 0 {
			break
		}
		s := letter.Sign(l.keys.Circle, raw)
		l.checked.made(letter.ForRecord, l.keys.CirclePublic(), s)
		b.Records = append(b.Records, s)
	}
	b.Records = b.Records[:courier.Fit(b.Records)]
	for _, s := range b.Records {
		if key, ok := l.memoKey(rd, r.Peer, s.Bytes); ok {
			b.Keys = append(b.Keys, key)
		}
	}
	return b
}

// handle answers one request of a peer's machine.
func (l *letters) handle(ctx context.Context, from string, request []byte) ([]byte, error) {
	peer, ok := (*l.known.Load())[from]
	if !ok {
		return courier.Encode(courier.Refused{Code: courier.UnknownCircle, Message: "not known here"})
	}
	msg, err := courier.Decode(request)
	if err != nil {
		return courier.Encode(courier.Refused{Code: courier.Malformed, Message: "not understood"})
	}
	if !l.allowed.take(peer.Circle, msg) {
		return courier.Encode(courier.Refused{Code: courier.Busy, Message: "too much at once; wait a little"})
	}
	var reply any
	switch m := msg.(type) {
	case courier.Open:
		reply, err = l.gotOpen(ctx, peer, m)
	case courier.Batch:
		reply, err = l.gotBatch(ctx, peer, m)
	case courier.Recall:
		reply, err = l.gotRecall(peer, m)
	case courier.Register:
		reply, err = l.gotRegister(ctx, peer, m)
	case courier.Report:
		reply, err = l.gotReport(ctx, peer, m)
	case courier.Want:
		reply, err = l.members.gotWant(m)
	case courier.Withdrawn:
		reply, err = l.members.gotWithdrawn(peer, m)
	case courier.Contact:
		reply, err = courier.Told{}, l.members.gotContact(ctx, peer, m)
	case courier.Reply:
		reply, err = courier.Told{}, l.members.gotReply(ctx, peer, m)
	case courier.RoundAsk:
		reply, err = l.members.gotRoundAsk(peer, m)
	case courier.RoundSay:
		reply, err = courier.Told{}, l.members.gotRoundSay(ctx, peer, m)
	case courier.CharterAsk:
		reply, err = l.members.gotCharterAsk(ctx, peer, m)
	case courier.BooksAsk:
		reply, err = l.gotBooksAsk(peer, m)
	case courier.CharterShow:
		reply, err = courier.Told{}, l.members.gotCharterShow(ctx, peer, m)
	default:
		reply, err = l.gotMove(ctx, peer, msg)
	}
	if err != nil {
		var refusal *machine.Error
		if !errors.As(err, &refusal) {
			l.log.Warn("a letter could not be taken", "circle", peer.Circle, "err", err)
			refusal = &machine.Error{Code: courier.Busy, Message: "try again later"}
		}
		text := refusal.Message
		reply = courier.Refused{Code: refusal.Code, Message: text[:min(len(text), courier.MaxRefusalBytes)]}
	}
	return courier.Encode(reply)
}

func (l *letters) gotOpen(ctx context.Context, peer exchange.PeerState, m courier.Open) (any, error) {
	if m.From != peer.Circle || m.To != l.keys.CircleID() {
		return courier.Refused{Code: courier.UnknownCircle, Message: "not for this circle"}, nil
	}
	ny, err := newNonce()
	if err != nil {
		return nil, err
	}
	result, err := l.do(ctx, peer.Circle, "exchange.session", exchange.Session{Nx: m.Nx, Ny: ny})
	if err != nil {
		return nil, err
	}
	w := result.(exchange.Welcomed)
	return courier.SignWelcome(l.keys.Circle, courier.Welcome{
		Nx: m.Nx, Ny: ny, Held: w.Held, HeadSeen: w.HeadSeen, From: l.keys.CircleID(), To: peer.Circle,
		Tail: w.Tail,
	})
}

func (l *letters) gotBatch(ctx context.Context, peer exchange.PeerState, m courier.Batch) (any, error) {
	if m.From != peer.Circle || m.To != l.keys.CircleID() {
		return courier.Refused{Code: courier.UnknownCircle, Message: "not for this circle"}, nil
	}
	frame := recordFrame
	if len(m.Keys) > 0 {
		frame += wordsFrame
	}
	var held letter.Position
	for rest := m.Records; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && (n == 0 || size+len(rest[n].Bytes)+frame <= maxBatchBytes) {
			size += len(rest[n].Bytes) + frame
			n++
		}
		id, err := api.NewID()
		if err != nil {
			return nil, err
		}
		words, err := l.openMemos(ctx, id, rest[:n], m.Keys)
		if err != nil {
			return nil, err
		}
		notes, err := l.openNotes(rest[:n])
		if err != nil {
			return nil, err
		}
		body := exchange.Receive{Nx: m.Nx, Ny: m.Ny, Records: rest[:n], Words: words, Notes: notes}
		result, err := l.doAs(ctx, id, peer.Circle, "exchange.receive", body)
		if err != nil {
			return nil, err
		}
		got := result.(exchange.Received)
		if got.Frozen != "" {
			return courier.Refused{
				Code:    courier.Frozen,
				Message: "stopped until people have looked at it",
			}, nil
		}
		held, rest = got.Held, rest[n:]
	}
	return courier.Ack{Held: held}, nil
}

func (l *letters) do(ctx context.Context, peer letter.CircleID, kind string, body any) (any, error) {
	id, err := api.NewID()
	if err != nil {
		return nil, err
	}
	return l.doAs(ctx, id, peer, kind, body)
}

func (l *letters) doAs(
	ctx context.Context, id machine.ID, peer letter.CircleID, kind string, body any,
) (any, error) {
	c, err := machine.NewCommand(id, machine.Caller{Actor: machine.PeerActor(string(peer))}, 0, kind, body)
	if err != nil {
		return nil, err
	}
	out, err := l.circle.Do(ctx, c)
	if err != nil {
		return nil, err
	}
	if out.Refusal != nil {
		return nil, out.Refusal
	}
	return out.Result, nil
}
