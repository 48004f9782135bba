package store

import (
	"context"
	"time"
)

// pace is a writer into nothing that takes so many bytes a second, 0: as many as come. It slows down who
// reads a whole disk, so that others get at it, and ends with ctx.
type pace struct {
	ctx   context.Context
	rate  int
	began time.Time
	bytes int
}

func newPace(ctx context.Context, rate int) *pace {
	return &pace{ctx: ctx, rate: rate, began: time.Now()}
}

// Write implements io.Writer.
func (p *pace) Write(b []byte) (int, error) {
	p.bytes += len(b)
	if err := p.ctx.Err(); err != nil || p.rate == 0 {
		return len(b), err
	}
	due := time.Duration(float64(p.bytes) / float64(p.rate) * float64(time.Second))
	wait := time.NewTimer(due - time.Since(p.began))
	defer wait.Stop()
	select {
	case <-wait.C:
		return len(b), nil
	case <-p.ctx.Done():
		return 0, p.ctx.Err()
	}
}
