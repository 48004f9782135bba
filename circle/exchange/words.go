package exchange

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
)

// FreshID draws a new id for what other circles have to name too: 32 hex digits.
func FreshID(tx *machine.Tx) string {
	id := tx.Fresh()
	return hex.EncodeToString(id[:])
}

// CheckID refuses what FreshID did not make.
func CheckID(id string) error {
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != len(machine.ID{}) {
		return machine.Refuse("malformed", "This is no id: it has 32 hexadecimal digits.")
	}
	return nil
}

// CheckCircle refuses what is no circle's id.
func CheckCircle(circle string) error {
	if !letter.CircleID(circle).Valid() {
		return machine.Refuse("malformed", "This names no circle.")
	}
	return nil
}

// CheckWords refuses a text of several lines, for people of another circle, that is too long or cannot be
// shown.
func CheckWords(w machine.Private, maxRunes int) error {
	text := w.Clear()
	switch {
	case w.IsSealed():
		return w.CheckSealed("text", utf8.UTFMax*maxRunes)
	case utf8.RuneCountInString(text) > maxRunes:
		return machine.Refuse("bad_text", "Say it in at most %d letters.", maxRunes)
	case !letter.Readable(strings.ReplaceAll(text, "\n", " "), utf8.UTFMax*maxRunes):
		return machine.Refuse("bad_text", "There are signs in the text that cannot be shown.")
	}
	return nil
}
