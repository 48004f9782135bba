package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// What a log entry of ours holds, by its first byte. A command alone is a CBOR map, whose first byte is
// none of these: circles wrote such entries before there were bundles.
const (
	markByte   = 0x00 // nothing: see newMark
	bundleByte = 0x01 // commands that waited together
	scrubByte  = 0x02 // nothing, but every replica sums up its state: see newScrub
)

// Limits of one bundle. What its commands change is one commit of the state, so it must fit into that.
const (
	maxBundleCommands = 256
	maxBundleBytes    = 256 << 10 // of commands, but for one that is larger alone
	maxQueued         = 16384     // commands that wait to be proposed
)

var errBusy = errors.New("too many commands wait at this replica: nothing was proposed, try again shortly")

// ticket names a bundle, so that whoever proposed it knows it when it is applied.
type ticket [markBytes]byte

// newBundle makes the log entry of some commands: byte 1, ticket, then each command after its length.
func newBundle(t ticket, commands [][]byte) []byte {
	size := 1 + len(t)
	for _, c := range commands {
		size += binary.MaxVarintLen32 + len(c)
	}
	b := append(make([]byte, 0, size), bundleByte)
	b = append(b, t[:]...)
	for _, c := range commands {
		b = binary.AppendUvarint(b, uint64(len(c)))
		b = append(b, c...)
	}
	return b
}

// openBundle takes a log entry that is no mark apart. The commands are parts of data.
func openBundle(data []byte) (t ticket, commands [][]byte, err error) {
	if len(data) == 0 || data[0] != bundleByte {
		return ticket{}, [][]byte{data}, nil
	}
	rest := data[1:]
	if len(rest) < len(t) {
		return ticket{}, nil, errors.New("a bundle of commands ends too early")
	}
	rest = rest[copy(t[:], rest):]
	for len(rest) > 0 {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > uint64(len(rest)-used) {
			return ticket{}, nil, fmt.Errorf("command %d of a bundle ends too early", len(commands))
		}
		commands = append(commands, rest[used:used+int(n):used+int(n)])
		rest = rest[used+int(n):]
	}
	return t, commands, nil
}

// proposer gathers the commands that wait at a leading replica: while one bundle is under way, all that
// arrive wait for the next. One synced write and one round to the other replicas then serve many.
type proposer struct {
	apply func(entry []byte) // hands an entry to raft; may wait
	wake  chan struct{}

	mu       sync.Mutex
	queue    [][]byte
	underWay map[ticket]time.Time // when it was proposed
	last     ticket
}

func (p *proposer) init(apply func(entry []byte)) {
	p.apply, p.wake = apply, make(chan struct{}, 1)
	p.underWay = map[ticket]time.Time{}
	copy(p.last[:], newMark()[1:])
}

// add has a command proposed soon.
func (p *proposer) add(raw []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) >= maxQueued {
		return errBusy
	}
	p.queue = append(p.queue, raw)
	p.poke()
	return nil
}

// applied notes that a bundle, perhaps another replica's, was applied.
func (p *proposer) applied(t ticket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.underWay, t)
	p.poke()
}

// forget drops all that waits or is under way: leadership has turned, and who waits tries again.
func (p *proposer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = nil
	clear(p.underWay)
}

func (p *proposer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run proposes until stopped is closed.
func (p *proposer) run(stopped <-chan struct{}) {
	for {
		select {
		case <-p.wake:
		case <-stopped:
			return
		}
		for entry := p.next(); entry != nil; entry = p.next() {
			p.apply(entry)
		}
	}
}

// next returns the next entry to propose, nil if there is nothing or it must wait.
func (p *proposer) next() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for t, since := range p.underWay {
		if now.Sub(since) >= proposeAgain { // raft may have dropped it without a word
			delete(p.underWay, t)
		}
	}
	if len(p.queue) == 0 || len(p.underWay) > 0 {
		return nil
	}
	n, size := 0, 0
	for n < len(p.queue) && n < maxBundleCommands {
		if size += len(p.queue[n]); n > 0 && size > maxBundleBytes {
			break
		}
		n++
	}
	count := binary.BigEndian.Uint64(p.last[8:]) + 1
	binary.BigEndian.PutUint64(p.last[8:], count)
	entry := newBundle(p.last, p.queue[:n])
	p.underWay[p.last] = now
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil
	}
	return entry
}
