package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
)

// Drills are kept as JSON lines, one a drill, beside the backups.
const (
	drillFile  = "drills.jsonl"
	drillEvery = 7 * 24 * time.Hour
	drillAgain = 24 * time.Hour // after one that failed
)

// Drill is the dated evidence of one restore drill.
type Drill struct {
	At        string       `json:"at"`
	File      string       `json:"file"`
	Backup    machine.ID   `json:"backup"`
	MadeAt    string       `json:"madeAt"`
	Epoch     uint64       `json:"epoch"`
	Index     uint64       `json:"index"`
	Position  uint64       `json:"position"`
	StateHash machine.Hash `json:"stateHash"`
	Millis    int64        `json:"millis"` // it took
	Passed    bool         `json:"passed"`
	Full      bool         `json:"full"` // opened and rebuilt; otherwise only what shows without an identity
	Checks    []Check      `json:"checks"`
	Words     string       `json:"words"` // the same for people
}

// drillIfDue runs a drill if the newest is too old. One that did not pass is an error.
func (k *Keeper) drillIfDue(ctx context.Context, now time.Time) error {
	drills, err := ReadDrills(k.Config.Dir)
	if err != nil || k.Config.EveryHours == 0 {
		return err
	}
	if len(drills) > 0 {
		last, wait := drills[len(drills)-1], drillAgain
		if last.Passed {
			wait = drillEvery
		}
		if at, err := time.Parse(time.RFC3339, last.At); err == nil && now.Sub(at) < wait {
			return nil
		}
	}
	var id Identity
	if k.Config.DrillIdentity != "" {
		if id, err = ReadIdentity(k.Config.DrillIdentity); err != nil {
			return fmt.Errorf("restore drill: %w", err)
		}
	}
	d, err := k.Drill(ctx, id, now)
	if err != nil {
		return err
	}
	return d.Err()
}

// Err returns why a drill did not pass, nil if it did.
func (d Drill) Err() error {
	if d.Passed {
		return nil
	}
	return errors.New(d.Words)
}

// Drill takes the newest backup that can be restored, checks it as Verify does, and leaves dated evidence
// of what it found. A file that should be a backup and cannot be read lets it fail. The error says that
// there is no evidence.
func (k *Keeper) Drill(ctx context.Context, id Identity, now time.Time) (Drill, error) {
	began := time.Now()
	known, err := k.known()
	if err != nil {
		return Drill{}, fmt.Errorf("restore drill: %w", err)
	}
	d, report := Drill{At: when(now.UnixMilli())}, Report{Checks: []Check{}}
	if newest, ok := known.newest(); ok {
		if report, err = Verify(ctx, newest.Path, id); err != nil {
			report.took("restore", err, "")
		}
		d.fill(report)
	} else {
		report.took("backup", fmt.Errorf("there is none in %s that can be restored: make one with carecircle"+
			" backup", k.Config.Dir), "")
	}
	if err := ctx.Err(); err != nil {
		return Drill{}, fmt.Errorf("restore drill: %w", err)
	}
	for _, u := range known.Unread {
		report.took("other files", u.Err, "")
	}
	d.Checks, d.Passed, d.Full = report.Checks, report.Wrong() == 0, report.Full
	d.Millis = time.Since(began).Milliseconds()
	d.Words = d.words()
	return d, appendDrill(k.Config.Dir, d)
}

func (d *Drill) fill(r Report) {
	m := r.Manifest
	d.File, d.Backup, d.Epoch, d.Index = filepath.Base(r.File), m.ID, m.Epochs.Newest().Epoch, m.Index
	d.Position, d.StateHash, d.MadeAt = m.Position, m.StateHash, when(m.MadeAt)
}

func (d Drill) words() string {
	for _, c := range d.Checks {
		if !c.OK {
			return fmt.Sprintf("%s restore drill FAILED: %s: %s", d.At, c.What, c.Found)
		}
	}
	how := "its manifest and sealed body were checked; it was not opened, for lack of an identity"
	if d.Full {
		how = "it was opened, rebuilt and replayed, and its books were audited"
	}
	return fmt.Sprintf("%s restore drill passed: %s, made %s, at command %d (log entry %d), state hash %s:"+
		" %s, in %d ms", d.At, d.File, d.MadeAt, d.Position, d.Index, d.StateHash, how, d.Millis)
}

// appendDrill adds a line. One that a crash cut short before it is ended first.
func appendDrill(dir string, d Drill) error {
	raw, err := json.Marshal(d)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("keep the evidence of a drill: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, drillFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("keep the evidence of a drill: %w", err)
	}
	line := append(raw, '\n')
	var last [1]byte
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		if _, err := f.ReadAt(last[:], info.Size()-1); err == nil && last[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	_, err = f.Write(line)
	if err := errors.Join(err, f.Sync(), f.Close(), syncDir(dir)); err != nil {
		return fmt.Errorf("keep the evidence of a drill: %w", err)
	}
	return nil
}

// ReadDrills returns the evidence of all drills, oldest first. A line that cannot be read is one that did
// not pass.
func ReadDrills(dir string) ([]Drill, error) {
	raw, err := os.ReadFile(filepath.Join(dir, drillFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the evidence of drills: %w", err)
	}
	var out []Drill
	for n, line := range bytes.Split(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n")) {
		var d Drill
		if err := json.Unmarshal(line, &d); err != nil {
			words := fmt.Sprintf("line %d of %s cannot be read: %v", n+1, drillFile, err)
			d = Drill{Checks: []Check{}, Words: words}
		}
		out = append(out, d)
	}
	return out, nil
}
