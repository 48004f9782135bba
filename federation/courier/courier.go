// Package courier decides what a circle sends to which peer, and when, and has the messages for it.
// The Courier does no sending itself: the caller asks Ready what to do, does it, and says with Replied or
// Failed how it went. Whatever is lost or repeated, the receiver's own record of the stream says where to
// go on, so sending is always safe to repeat.
package courier

import (
	"cmp"
	"slices"

	"github.com/carecircle/carecircle/federation/letter"
)

// Waits of the courier, in milliseconds.
const (
	// FirstWaitMillis is the wait after a first failure; it doubles with every further one.
	FirstWaitMillis = 200
	// MaxWaitMillis is the longest wait.
	MaxWaitMillis = 30_000

	maxVoids     = 3 // session_void in a row that are answered at once with a new Open
	maxDoublings = 8 // FirstWaitMillis doubled so often is above MaxWaitMillis
)

// RequestKind says what the caller is to do.
type RequestKind uint8

// What a caller is asked for.
const (
	// SendOpen: send Request.Open to the peer, and give the answer to Replied or the error to Failed.
	SendOpen RequestKind = 1
	// SendBatch: send a Batch with Nx, Ny and records FromSeq to ToSeq of the stream, or the first of them
	// that Fit, at least one; then Replied or Failed.
	SendBatch RequestKind = 2
	// Opened: compare Request.Welcome with our own books (its signature, the hash at Held), then Confirm.
	Opened RequestKind = 3
)

// Request is one thing to do. Each must be answered once: SendOpen and SendBatch with Replied or Failed,
// Opened with Confirm. Until then there is no further Request for that peer, unless the peer begins anew:
// what is answered to a Request from before that no longer counts.
type Request struct {
	Peer           letter.CircleID
	Kind           RequestKind
	Open           Open    // of SendOpen
	Nx, Ny         Nonce   // of SendBatch
	FromSeq, ToSeq uint64  // of SendBatch, both included, at most MaxBatchRecords
	Welcome        Welcome // of Opened

	try uint64
}

// Why a peer is not being sent to, in PeerStatus.LastError; else it is a Refused code or the caller's text.
const (
	// PeerAhead: the peer holds more of our stream than we have. We were put back to an older state and must
	// not write anything new. Sending stays stopped until our stream has got back to where the peer is.
	PeerAhead = "peer_ahead"
	// WelcomeDenied: the caller found the peer's Welcome false. It is asked again after the longest wait: its
	// key or its books may be put right.
	WelcomeDenied = "welcome_denied"
	// UnexpectedReply: the peer's answer was not one to what was asked.
	UnexpectedReply = "unexpected_reply"
	// NoProgress: the peer took a batch and says that it holds no more than before.
	NoProgress = "no_progress"
)

// PeerStatus is what to show of a peer.
type PeerStatus struct {
	Peer      letter.CircleID
	Connected bool   // a session is open and confirmed
	Stopped   bool   // PeerAhead: nothing is sent, however long one waits
	Held      uint64 // how far the peer holds our stream, as far as we know
	Tail      uint64 // how far our stream goes
	LastError string // "" when all is well
	RetryAt   int64  // Unix milliseconds of the next try; 0: nothing is waited for
}

// The states of a peer: closed -> opening -> confirming -> open <-> sending; from anywhere back to closed,
// and to stopped, which waiting does not end.
type state uint8

const (
	closed     state = iota // the next thing is an Open, at retryAt
	opening                 // an Open is in flight
	welcomed                // a Welcome has come; the caller is still to be asked about it
	confirming              // the caller is looking at it
	open                    // in session; the next batch goes when there is one, and not before retryAt
	sending                 // a batch is in flight
	stopped                 // the peer is ahead of us; only Peer or Remove ends it
)

type peer struct {
	id        letter.CircleID
	state     state
	tail      letter.Position
	held      uint64
	welcome   Welcome // of the session
	failures  uint    // in a row
	voids     uint    // in a row
	retryAt   int64
	lastError string
	try       uint64 // of the request that is to be answered
	life      Nonce  // of theirs, as last heard
	stale     bool   // a new life of theirs began since they were asked
}

// Courier sends one circle's streams to all its peers. It is for one goroutine at a time.
type Courier struct {
	self    letter.CircleID
	nx      Nonce
	now     int64
	rng     uint64
	attempt uint64
	try     uint64
	peers   []peer // by id
}

// New returns a Courier of circle self. nx must be new for every process start and every change of leader.
// The seed spreads retries, so that circles which failed together do not all come back together.
func New(self letter.CircleID, nx Nonce, seed uint64) *Courier {
	return &Courier{self: self, nx: nx, rng: seed}
}

// Peer adds a peer, or says again how far our stream to it goes. A new peer is opened at once even when there
// is nothing to send: before its Welcome this circle must not write anything new to it. A new leader first
// applies all that is committed, else what it does not know of yet looks like PeerAhead. That is taken back
// when the tail reaches what the peer holds: the next Open lets the caller compare the two.
func (c *Courier) Peer(id letter.CircleID, tail letter.Position) {
	i, found := c.search(id)
	if !found {
		c.peers = slices.Insert(c.peers, i, peer{id: id})
	}
	p := &c.peers[i]
	p.tail = tail
	if p.state == stopped && p.held <= tail.Seq {
		p.state = closed
	}
}

// Remove forgets a peer. An answer to what is in flight is ignored.
func (c *Courier) Remove(id letter.CircleID) {
	if i, found := c.search(id); found {
		c.peers = slices.Delete(c.peers, i, i+1)
	}
}

// Began says that a peer has opened a session of its own, in a life of this name. In a new life it may hold
// less of our stream than it said before, so it is asked again.
func (c *Courier) Began(id letter.CircleID, life Nonce) {
	p := c.find(id)
	if p == nil || p.life == life {
		return
	}
	p.life = life
	switch p.state {
	case open, sending, stopped:
		p.state, p.retryAt = closed, 0
	case opening, welcomed, confirming: // a welcome on its way may be of the earlier life
		p.stale = true
	case closed: // it will be asked
	}
}

// Tick says what the time is, in milliseconds. When a clock is put back, waits keep what is left of them.
func (c *Courier) Tick(now int64) {
	back := c.now - now
	for i := range c.peers {
		if p := &c.peers[i]; back > 0 && p.retryAt > 0 {
			p.retryAt = max(p.retryAt-back, 1)
		}
	}
	c.now = now
}

// Ready returns what is to be done now, peers in order of their ids.
func (c *Courier) Ready() []Request {
	var requests []Request
	for i := range c.peers {
		if r, ok := c.ready(&c.peers[i]); ok {
			requests = append(requests, r)
		}
	}
	return requests
}

func (c *Courier) ready(p *peer) (Request, bool) {
	r, ok := c.next(p)
	if ok {
		c.try++
		p.try, r.try = c.try, c.try
	}
	return r, ok
}

func (c *Courier) next(p *peer) (Request, bool) {
	switch {
	case p.state == closed && c.now >= p.retryAt:
		p.state, p.stale = opening, false
		c.attempt++
		return Request{Peer: p.id, Kind: SendOpen, Open: Open{
			From: c.self, To: p.id, Nx: c.nx, Attempt: c.attempt, Tail: p.tail,
		}}, true
	case p.state == welcomed:
		p.state = confirming
		return Request{Peer: p.id, Kind: Opened, Welcome: p.welcome}, true
	case p.state == open && c.now >= p.retryAt && p.held < p.tail.Seq:
		p.state = sending
		return Request{
			Peer: p.id, Kind: SendBatch, Nx: c.nx, Ny: p.welcome.Ny,
			FromSeq: p.held + 1, ToSeq: min(p.tail.Seq, p.held+MaxBatchRecords),
		}, true
	}
	return Request{}, false
}

// Heard is what came of a Welcome in this circle's own log.
type Heard uint8

// What came of a Welcome.
const (
	Denied Heard = iota // it was not taken
	Behind              // the peer holds more of our stream than our books: that is taken back first
	Fresh               // letters may go there
)

// Confirm says what came of a Welcome. Where we are behind, the peer is asked for another as soon as its tail
// is reached, and be it reached already.
func (c *Courier) Confirm(r Request, heard Heard) {
	p := c.asked(r)
	switch {
	case p == nil || p.state != confirming:
	case p.stale:
		p.state, p.retryAt = closed, 0
	case heard == Denied:
		p.failures = maxDoublings
		c.fail(p, WelcomeDenied)
	case heard == Behind:
		p.state, p.held = stopped, p.welcome.Held.Seq
		p.lastError, p.retryAt = PeerAhead, 0
	default:
		p.state, p.held = open, p.welcome.Held.Seq
		c.progress(p, p.held == p.tail.Seq)
	}
}

// Replied gives the peer's answer to a request: what Decode returned for it.
func (c *Courier) Replied(r Request, msg any, now int64) {
	c.Tick(now)
	p := c.asked(r)
	if p == nil || p.state != opening && p.state != sending {
		return
	}
	switch m := msg.(type) {
	case Welcome:
		if p.state == opening && m.Nx == c.nx && m.From == p.id && m.To == c.self {
			p.state, p.welcome = welcomed, m
			return
		}
	case Ack:
		if p.state == sending {
			c.acked(p, m.Held.Seq)
			return
		}
	case Refused:
		c.refused(p, m.Code)
		return
	}
	c.fail(p, UnexpectedReply)
}

// Failed says that a request got no answer, and why.
func (c *Courier) Failed(r Request, why string, now int64) {
	c.Tick(now)
	p := c.asked(r)
	if p != nil && (p.state == opening || p.state == sending) {
		c.fail(p, why)
	}
}

// Status returns how things stand with every peer, in order of their ids.
func (c *Courier) Status() []PeerStatus {
	all := make([]PeerStatus, 0, len(c.peers))
	for _, p := range c.peers {
		s := PeerStatus{
			Peer: p.id, Connected: p.state == open || p.state == sending, Stopped: p.state == stopped,
			Held: p.held, Tail: p.tail.Seq, LastError: p.lastError,
		}
		if (p.state == closed || p.state == open) && p.retryAt > c.now {
			s.RetryAt = p.retryAt
		}
		all = append(all, s)
	}
	return all
}

func (c *Courier) acked(p *peer, held uint64) {
	if held <= p.held {
		c.fail(p, NoProgress)
		return
	}
	p.state, p.held = open, held
	c.progress(p, true)
}

// progress is called when the peer has said how far it holds our stream. Only progress that is more than a
// Welcome ends the doubling of waits, else a peer that welcomes and then drops us would be asked for ever.
func (c *Courier) progress(p *peer, moved bool) {
	if p.held > p.tail.Seq {
		p.state, p.lastError, p.retryAt = stopped, PeerAhead, 0
		return
	}
	p.retryAt, p.lastError = 0, ""
	if moved {
		p.failures, p.voids = 0, 0
	}
}

func (c *Courier) refused(p *peer, code string) {
	switch {
	case code == SessionVoid && p.voids < maxVoids:
		p.voids++
		p.state, p.retryAt, p.lastError = closed, 0, code
	case code == Busy && p.state == sending:
		c.fail(p, code)
		p.state = open
	default:
		c.fail(p, code)
	}
}

// fail ends the session and waits: FirstWaitMillis doubled for every failure in a row, the half of it random.
func (c *Courier) fail(p *peer, why string) {
	wait := int64(MaxWaitMillis)
	if p.failures < maxDoublings {
		wait = FirstWaitMillis << p.failures
		p.failures++
	}
	p.state, p.lastError = closed, why
	p.retryAt = c.now + wait/2 + int64(c.random()%uint64(wait/2+1))
}

// asked finds whom a request was about, if it is still the one that waits for an answer. A batch sent in an
// earlier session may be answered in this one, and must not be taken for the answer to its batch.
func (c *Courier) asked(r Request) *peer {
	if p := c.find(r.Peer); p != nil && p.try == r.try {
		return p
	}
	return nil
}

func (c *Courier) find(id letter.CircleID) *peer {
	if i, found := c.search(id); found {
		return &c.peers[i]
	}
	return nil
}

func (c *Courier) search(id letter.CircleID) (int, bool) {
	return slices.BinarySearchFunc(c.peers, id, func(p peer, id letter.CircleID) int {
		return cmp.Compare(p.id, id)
	})
}

// random is splitmix64: small, and the same everywhere for the same seed.
func (c *Courier) random() uint64 {
	c.rng += 0x9e3779b97f4a7c15
	z := c.rng
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
