package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// TestAllowance: a circle that sends at full speed gets its share and no more, in messages and in log lines;
// others are not affected.
func TestAllowance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a := newAllowance(slog.New(slog.NewTextHandler(&log, nil)))
		batch := courier.Batch{Records: make([]letter.Signed, courier.MaxBatchRecords)}
		flood := func() (records int) {
			for range 10_000 {
				if a.take("c1", batch) {
					records += len(batch.Records)
				}
			}
			return records
		}
		if got := flood(); got > allowedAtOnce || got < allowedAtOnce-courier.MaxBatchRecords {
			t.Errorf("%d records at once", got)
		}
		if !a.take("c2", batch) {
			t.Error("another circle waits for it")
		}
		time.Sleep(time.Second)
		if got := flood(); got > allowedPerSecond+courier.MaxBatchRecords || got < allowedPerSecond/2 {
			t.Errorf("%d records after a second", got)
		}
		if lines := strings.Count(log.String(), "\n"); lines == 0 || lines > noiseAtOnce+1 {
			t.Errorf("%d log lines", lines)
		}
	})
}
