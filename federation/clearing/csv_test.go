package clearing_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/federation/clearing"
)

func TestReadCSV(t *testing.T) {
	got, err := clearing.ReadCSV(strings.NewReader(
		"\ufeffDebtor, creditor,minutes\r\nhebden,todmorden,60\n\n\"a, b\", hebden , 5\n"))
	want := []clearing.Obligation{{"hebden", "todmorden", 60}, {"a, b", "hebden", 5}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for text, words := range map[string]string{
		"":                                   "the table is empty",
		"a,b,5\n":                            `columns debtor,creditor,minutes, found "a,b,5"`,
		"a,b\n":                              "line 1: want the columns",
		"debtor,creditor,minutes\na,b\n":     "record on line 2: wrong number of fields",
		"debtor,creditor,minutes\na,b,x\n":   `line 2: "x" is no whole number`,
		"debtor,creditor,minutes\n\na,a,1\n": "line 3: a owes itself",
		"debtor,creditor,minutes\na,b,1.5\n": `line 2: "1.5" is no whole number`,
		"debtor,creditor,minutes\n\"a,b,1\n": "line 2",
		"debtor,creditor,minutes\na,b,0\n":   "want more than 0",
		"debtor,creditor,minutes\na,b,99999999999999999999\n": "more than can be counted",
	} {
		if _, err := clearing.ReadCSV(strings.NewReader(text)); !errors.Is(err, clearing.ErrObligation) ||
			!strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, want %q", text, err, words)
		}
	}
}
