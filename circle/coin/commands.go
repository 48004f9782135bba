package coin

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/carecircle/carecircle/circle/machine"
)

// Limits on coin commands.
const (
	MaxNoteRunes    = 1000
	MaxWordRunes    = 80
	MaxPictureBytes = 200 << 10
	MaxMinutes      = 100_000 // of one act
	dayMillis       = 24 * 60 * 60 * 1000
)

// SetPolicy writes the circle's coin policy: what the circle decided, in minutes.
type SetPolicy struct {
	FloorMinutes   int64  `cbor:"1,keyasint" json:"floorMinutes" doc:"lowest balance, such as -300"`
	WelcomeMinutes int64  `cbor:"2,keyasint" json:"welcomeMinutes" doc:"welcome gift from the pool"`
	AutoGift       bool   `cbor:"3,keyasint" json:"autoGift" doc:"automatic gifts are allowed"`
	EarnDayMinutes int64  `cbor:"4,keyasint" json:"earnDayMinutes" doc:"most one person earns a day"`
	ReviewOn       string `cbor:"5,keyasint" json:"reviewOn" doc:"day of review, as 2026-09-30"`
	Decision       string `cbor:"6,keyasint,omitempty" json:"decision,omitempty" doc:"decision that set it"`
}

// AddPlace names a place that can be given coins, such as a repair cafe.
type AddPlace struct {
	Place string `cbor:"1,keyasint" json:"place" doc:"short name in small letters and dashes: repair-cafe"`
	Name  string `cbor:"2,keyasint" json:"name" doc:"what people call it"`
}

// Earn records time freely given to the group: the circle issues the coins.
type Earn struct {
	Person   string `cbor:"1,keyasint" json:"person" doc:"who gave the time"`
	Minutes  int64  `cbor:"2,keyasint" json:"minutes" doc:"time given; 60 is one coin"`
	Activity string `cbor:"3,keyasint" json:"activity" doc:"what was done: garden, community lunch"`
	Place    string `cbor:"4,keyasint,omitempty" json:"place,omitempty" doc:"where, in words"`
	On       int64  `cbor:"5,keyasint,omitempty" json:"on,omitempty" doc:"when, Unix milliseconds; 0: now"`
}

// Pay thanks a member for help with the payer's own coins.
type Pay struct {
	To       string          `cbor:"1,keyasint" json:"to" doc:"who helped"`
	Minutes  int64           `cbor:"2,keyasint" json:"minutes" doc:"time of the help; 60 is one coin"`
	Activity string          `cbor:"3,keyasint" json:"activity" doc:"what the help was: company, a lift"`
	Place    string          `cbor:"4,keyasint,omitempty" json:"place,omitempty" doc:"where, in words"`
	Note     machine.Private `cbor:"5,keyasint" json:"note,omitzero" doc:"a word to the helper"`
}

// Give makes a gift of coins to a person, a place or the pool.
type Give struct {
	To      string          `cbor:"1,keyasint" json:"to" doc:"a person's id, place/NAME, or pool"`
	Minutes int64           `cbor:"2,keyasint" json:"minutes" doc:"60 is one coin"`
	Note    machine.Private `cbor:"3,keyasint" json:"note,omitzero" doc:"a note or poem that travels along"`
	Picture *Picture        `cbor:"4,keyasint,omitempty" json:"picture,omitempty"`
	From    string          `cbor:"5,keyasint,omitempty" json:"from,omitempty" doc:"for the circle only"`
}

// Picture goes with a gift. Scheme and Key say how Data is sealed.
type Picture struct {
	Data   []byte          `cbor:"1,keyasint" json:"data" doc:"JPEG or PNG, base64"`
	Alt    machine.Private `cbor:"2,keyasint" json:"alt" doc:"what it shows, for those who cannot see it"`
	Scheme uint8           `cbor:"3,keyasint,omitempty" json:"-"`
	Key    uint32          `cbor:"4,keyasint,omitempty" json:"-"`
}

// Welcome gives a newcomer the welcome gift out of the pool, once.
type Welcome struct {
	Person string `cbor:"1,keyasint" json:"person"`
}

// AutoGift has what a person earns for the group given on at once.
type AutoGift struct {
	To string `cbor:"1,keyasint" json:"to" doc:"pool, place/NAME, or empty to stop"`
}

// Freeze stops an account, or lets it go on.
type Freeze struct {
	Account string          `cbor:"1,keyasint" json:"account" doc:"a person's id, place/NAME or pool"`
	Frozen  bool            `cbor:"2,keyasint" json:"frozen"`
	Why     machine.Private `cbor:"3,keyasint" json:"why" doc:"the reason, which its owner sees"`
}

// Reverse undoes one recorded act by an opposite entry.
type Reverse struct {
	Transfer machine.ID      `cbor:"1,keyasint" json:"transfer" doc:"the id of the act to undo"`
	Why      machine.Private `cbor:"2,keyasint" json:"why"`
}

// Check implements machine.Checker.
func (p SetPolicy) Check() error {
	switch {
	case p.FloorMinutes > 0 || p.FloorMinutes < -MaxMinutes:
		return machine.Refuse("bad_policy", "The floor is zero or below, such as -300 for five coins.")
	case p.WelcomeMinutes < 0 || p.WelcomeMinutes > MaxMinutes:
		return machine.Refuse("bad_policy", "The welcome gift is zero or more minutes.")
	case p.EarnDayMinutes < 1 || p.EarnDayMinutes > 24*60:
		return machine.Refuse("bad_policy", "One person earns between 1 minute and 24 hours on a day.")
	case !IsDay(p.ReviewOn):
		return machine.Refuse("bad_policy", "Say the day of review, such as 2026-09-30.")
	}
	return checkWords("decision", p.Decision, MaxWordRunes)
}

// Check implements machine.Checker.
func (p AddPlace) Check() error {
	ok := p.Place != "" && len(p.Place) <= 40
	for _, r := range p.Place {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
	}
	if !ok {
		return machine.Refuse("bad_text",
			"The place's short name is made of small letters, digits and dashes.")
	}
	return needWords("name", p.Name)
}

// Check implements machine.Checker.
func (e Earn) Check() error {
	if err := checkMinutes(e.Minutes); err != nil {
		return err
	}
	if err := checkWords("place", e.Place, MaxWordRunes); err != nil {
		return err
	}
	return needWords("activity", e.Activity)
}

// Check implements machine.Checker.
func (p Pay) Check() error {
	if err := checkMinutes(p.Minutes); err != nil {
		return err
	}
	if err := checkTo(p.To); err != nil {
		return err
	}
	if err := checkWords("place", p.Place, MaxWordRunes); err != nil {
		return err
	}
	if err := checkNote(p.Note); err != nil {
		return err
	}
	return needWords("kind of help", p.Activity)
}

// Check implements machine.Checker.
func (g Give) Check() error {
	if err := checkMinutes(g.Minutes); err != nil {
		return err
	}
	if err := checkTo(g.To); err != nil {
		return err
	}
	if g.Picture != nil {
		if err := g.Picture.check(); err != nil {
			return err
		}
	}
	return checkNote(g.Note)
}

func (p Picture) check() error {
	if sealed := p.private("sealed"); sealed.IsSealed() {
		if err := sealed.CheckSealed("picture", MaxPictureBytes); err != nil {
			return err
		}
		return checkPrivate("description of the picture", p.Alt, MaxWordRunes*3)
	}
	jpeg := bytes.HasPrefix(p.Data, []byte("\xff\xd8\xff"))
	png := bytes.HasPrefix(p.Data, []byte("\x89PNG\r\n\x1a\n"))
	if !jpeg && !png {
		return machine.Refuse("bad_picture", "The picture must be a JPEG or PNG.")
	}
	if len(p.Data) > MaxPictureBytes {
		return machine.Refuse("too_large", "The picture has %d KB; at most %d KB fit.", len(p.Data)>>10,
			MaxPictureBytes>>10)
	}
	return checkPrivate("description of the picture", p.Alt, MaxWordRunes*3)
}

// Check implements machine.Checker.
func (f Freeze) Check() error { return needPrivate("reason", f.Why) }

// Check implements machine.Checker.
func (r Reverse) Check() error { return needPrivate("reason", r.Why) }

func checkMinutes(minutes int64) error {
	if minutes <= 0 {
		return machine.Refuse("bad_amount", "The amount must be more than nothing.")
	}
	if minutes > MaxMinutes {
		return machine.Refuse("bad_amount", "%d minutes is more than one act can be. At most %d.", minutes,
			int64(MaxMinutes))
	}
	return nil
}

// IsDay tells whether text has the form of a day, such as 2026-09-30.
func IsDay(text string) bool {
	const form = "0000-00-00"
	if len(text) != len(form) {
		return false
	}
	for i := range len(form) {
		if digit := text[i] >= '0' && text[i] <= '9'; digit != (form[i] == '0') || !digit && text[i] != '-' {
			return false
		}
	}
	return true
}

func checkNote(note machine.Private) error { return checkPrivate("note", note, MaxNoteRunes) }

// checkPrivate checks words while they can be read, and their size once they are sealed.
func checkPrivate(what string, p machine.Private, maxRunes int) error {
	if p.IsSealed() {
		return p.CheckSealed(what, maxRunes*utf8.UTFMax)
	}
	return checkWords(what, p.Clear(), maxRunes)
}

func needPrivate(what string, p machine.Private) error {
	if p.IsSealed() {
		return p.CheckSealed(what, MaxWordRunes*utf8.UTFMax)
	}
	return needWords(what, p.Clear())
}

func checkTo(to string) error {
	if to == "" {
		return machine.Refuse("to_nobody", "Say who the coins are for.")
	}
	return checkWords("receiver", to, 128)
}

func needWords(what, text string) error {
	if strings.TrimSpace(text) == "" {
		return machine.Refuse("name_missing", "Fill in the %s.", what)
	}
	return checkWords(what, text, MaxWordRunes)
}

func checkWords(what, text string, maxRunes int) error {
	if n := utf8.RuneCountInString(text); n > maxRunes {
		return machine.Refuse("bad_text", "The %s has %d letters; at most %d fit.", what, n, maxRunes)
	}
	odd := func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f }
	if !utf8.ValidString(text) || strings.ContainsFunc(text, odd) {
		return machine.Refuse("bad_text", "The %s has signs in it that cannot be shown.", what)
	}
	return nil
}
