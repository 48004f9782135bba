package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// format is the value of -o. A wrong one is refused before anything is done.
type format string

func (f *format) String() string { return string(*f) }

// Type names the value in a command's help.
func (f *format) Type() string { return "string" }

// Set implements the flag's value.
func (f *format) Set(text string) error {
	if text != "table" && text != "json" && text != "csv" {
		return errors.New("choose table, json or csv")
	}
	*f = format(text)
	return nil
}

// outputFlag adds -o to a command.
func outputFlag(c *cobra.Command, into *string) {
	*into = "table"
	c.Flags().VarP((*format)(into), "output", "o", "how to print: table, json or csv")
}

// show prints any answer: as JSON, or its list as a table or CSV, or else its fields, one a line.
func show(w io.Writer, format string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	switch format {
	case "json":
		var indented any
		if err := json.Unmarshal(raw, &indented); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		raw, err = json.MarshalIndent(v, "", "  ")
		if err != nil {
			return fmt.Errorf("print: %w", err)
		}
		_, err = fmt.Fprintln(w, string(raw))
		return err
	case "table", "csv":
		rows, err := rowsOf(raw)
		if err != nil {
			return fmt.Errorf("print: %w", err)
		}
		if format == "csv" {
			return writeCSV(w, rows)
		}
		return writeTable(w, rows)
	default:
		return usageError{fmt.Errorf("-o %q: choose table, json or csv", format)}
	}
}

// rowsOf makes a header and rows of a JSON value: of its one list of objects if it has one, else of its
// fields.
func rowsOf(raw []byte) ([][]string, error) {
	names, fields, err := object(raw)
	if err != nil {
		return list(raw)
	}
	lists := slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		return len(fields[n]) == 0 ||
			fields[n][0] != '['
	})
	if len(lists) == 1 {
		if rows, err := list(fields[lists[0]]); err == nil {
			return rows, nil
		}
	}
	rows := [][]string{{"field", "value"}}
	for _, n := range names {
		rows = append(rows, []string{n, text(fields[n])})
	}
	return rows, nil
}

// object reads a JSON object and keeps the order of its fields.
func object(raw []byte) (names []string, fields map[string]json.RawMessage, err error) {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, fmt.Errorf("not an object")
	}
	fields = map[string]json.RawMessage{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, nil, err
		}
		key := fmt.Sprint(name)
		names = append(names, key)
		fields[key] = value
	}
	return names, fields, nil
}

// list makes rows of a JSON list of objects; the header has every field any of them has.
func list(raw []byte) ([][]string, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, err
	}
	var header []string
	rows := [][]string{nil}
	for _, item := range items {
		names, fields, err := object(item)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if !slices.Contains(header, n) {
				header = append(header, n)
			}
		}
		row := make([]string, 0, len(header))
		for _, n := range header {
			row = append(row, text(fields[n]))
		}
		rows = append(rows, row)
	}
	rows[0] = header
	return rows, nil
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

func writeTable(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	for _, row := range rows {
		line := strings.NewReplacer("\n", " ", "\t", " ").Replace(strings.Join(row, "\x00"))
		if _, err := fmt.Fprintln(tw, strings.ReplaceAll(line, "\x00", "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// writeCSV writes rows so that no spreadsheet takes a cell for a formula.
func writeCSV(w io.Writer, rows [][]string) error {
	cw := csv.NewWriter(w)
	for _, row := range rows {
		for len(row) < len(rows[0]) {
			row = append(row, "")
		}
		for i, cell := range row {
			if cell != "" && strings.ContainsRune("=+@\t\r", rune(cell[0])) {
				row[i] = "'" + cell
			}
		}
		if err := cw.Write(row); err != nil {
			return err
		}
	}
	cw.Flush()
	return cw.Error()
}
