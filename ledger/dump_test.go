package ledger

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// dump is everything a store holds, as text that is equal when the stores are.
func dump(m *Mem) string {
	var b strings.Builder
	fmt.Fprintf(&b, "head %d order %v\naccounts %v\nrecords %v\nlines %v\n",
		m.head, m.order, m.accounts, m.records, m.lines)
	for _, seq := range slices.Sorted(maps.Keys(m.entries)) {
		e := m.entries[seq]
		fmt.Fprintf(&b, "%d: %d %d %v", seq, e.Seq, e.Recorded, e.Op)
		if e.Account != nil {
			fmt.Fprintf(&b, " %+v", *e.Account)
		}
		if e.Transfer != nil {
			fmt.Fprintf(&b, " %x", EncodeTransfer(*e.Transfer))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// clone is a store with the same content, to damage.
func clone(m *Mem) *Mem {
	c := &Mem{
		head: m.head, accounts: maps.Clone(m.accounts), order: slices.Clone(m.order),
		entries: maps.Clone(m.entries), records: maps.Clone(m.records), lines: maps.Clone(m.lines),
	}
	for seq, e := range c.entries {
		var copied Entry
		text, err := json.Marshal(e)
		if err == nil {
			err = json.Unmarshal(text, &copied)
		}
		if err != nil {
			panic(err)
		}
		c.entries[seq] = copied
	}
	return c
}
