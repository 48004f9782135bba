package clearing

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

var columns = []string{"debtor", "creditor", "minutes"}

// ReadCSV reads obligations from a table with the columns debtor, creditor and minutes, in this order, named
// in its first line. The error is ErrObligation and names the line.
func ReadCSV(from io.Reader) ([]Obligation, error) {
	raw, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\ufeff")))) // as spreadsheets write it
	r.FieldsPerRecord, r.ReuseRecord, r.TrimLeadingSpace = len(columns), true, true
	head, err := r.Read()
	if err == nil || errors.Is(err, csv.ErrFieldCount) {
		for i := range head {
			head[i] = strings.ToLower(strings.TrimSpace(head[i]))
		}
		if !slices.Equal(head, columns) {
			return nil, fmt.Errorf("line 1: want the columns %s, found %q: %w", strings.Join(columns, ","),
				strings.Join(head, ","), ErrObligation)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the table is empty: its first line names the columns %s: %w",
			strings.Join(columns, ","), ErrObligation)
	}
	var all []Obligation
	for err == nil {
		var row []string
		if row, err = r.Read(); err != nil {
			break
		}
		line, _ := r.FieldPos(0)
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		o := Obligation{Debtor: strings.Clone(row[0]), Creditor: strings.Clone(row[1])}
		var wrong error
		o.Minutes, wrong = strconv.ParseInt(row[2], 10, 64)
		switch {
		case errors.Is(wrong, strconv.ErrRange):
			return nil, fmt.Errorf("line %d: %s minutes are more than can be counted: %w", line, row[2],
				ErrObligation)
		case wrong != nil:
			return nil, fmt.Errorf("line %d: %q is no whole number of minutes: %w", line, row[2],
				ErrObligation)
		}
		if wrong = o.check(); wrong != nil {
			return nil, fmt.Errorf("line %d: %w", line, wrong)
		}
		all = append(all, o)
	}
	if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %w", err, ErrObligation)
	}
	return all, nil
}
