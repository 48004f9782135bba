package node

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// What one other circle may have of this machine's time: so many records or questions a second, and some at
// once. It is far more than circles need, and leaves time for this one's own members.
const (
	allowedPerSecond = 2000
	allowedAtOnce    = 4000
	dearMessage      = 20 // records that an answer with many of them counts as
	noisePerSecond   = 0.1
	noiseAtOnce      = 10
)

// allowance counts what other circles ask for, each by itself.
type allowance struct {
	log *slog.Logger

	mu     sync.Mutex
	by     map[letter.CircleID]*rate.Limiter
	noises map[string]*rate.Limiter // of log lines, by what they say
}

func newAllowance(log *slog.Logger) *allowance {
	return &allowance{
		log: log, by: map[letter.CircleID]*rate.Limiter{}, noises: map[string]*rate.Limiter{},
	}
}

// take tells whether a circle may have this message answered now. Those that know us are few, so that there
// is a limiter for each for good.
func (a *allowance) take(from letter.CircleID, msg any) bool {
	cost := 1
	switch m := msg.(type) {
	case courier.Batch:
		cost = len(m.Records)
	case courier.Recall, courier.Want, courier.Report, courier.BooksAsk:
		cost = dearMessage
	}
	a.mu.Lock()
	limiter := a.by[from]
	if limiter == nil {
		limiter = rate.NewLimiter(allowedPerSecond, allowedAtOnce)
		a.by[from] = limiter
	}
	a.mu.Unlock()
	if limiter.AllowN(time.Now(), cost) {
		return true
	}
	a.warn("a circle sends more than it may; it is asked to wait", "circle", from)
	return false
}

// warn writes a log line, but not over and over.
func (a *allowance) warn(words string, args ...any) {
	a.mu.Lock()
	limiter := a.noises[words]
	if limiter == nil {
		limiter = rate.NewLimiter(noisePerSecond, noiseAtOnce)
		a.noises[words] = limiter
	}
	a.mu.Unlock()
	if limiter.Allow() {
		a.log.Warn(words, args...)
	}
}
