package findable

import (
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
)

// Limits of what members show and operators enter.
const (
	MaxSectorsAtOnce = 500
	MaxTimes         = 60
	MaxRenewedAtOnce = 200
	minutesOfDay     = 24 * 60
	minutesOfSlot    = 30
)

// Kinds are the kinds of support that pages offer to choose from; others may be named too.
var Kinds = []string{
	"companionship", "personal care", "home help", "shopping", "cooking", "driving", "gardening",
	"dog walking", "peer support", "tech help",
}

// Choose says what other circles may see of you, from now on. What is left empty nobody sees.
type Choose struct {
	Card   Choice          `cbor:"1,keyasint,omitzero" json:"card"`
	Closed machine.Private `cbor:"2,keyasint,omitzero" json:"-"` // in place of Card, once it is sealed
}

// Choice is what a member chose to show.
type Choice struct {
	Name      string   `cbor:"1,keyasint" json:"name" doc:"by which others may know you"`
	Words     string   `cbor:"2,keyasint,omitempty" json:"words,omitempty" doc:"a few words about you"`
	Kinds     []string `cbor:"3,keyasint,omitempty" json:"kinds,omitempty" doc:"support you give"`
	Skills    []string `cbor:"4,keyasint,omitempty" json:"skills,omitempty" doc:"what you know well"`
	Languages []string `cbor:"5,keyasint,omitempty" json:"languages,omitempty"`
	Sector    string   `cbor:"6,keyasint,omitempty" json:"sector,omitempty" doc:"postcode sector: HX7 8"`
	Times     []Time   `cbor:"7,keyasint,omitempty" json:"times,omitempty" doc:"when you have time"`
	RatePence int32    `cbor:"8,keyasint,omitempty" json:"ratePence,omitempty" doc:"an hour; 0: freely given"`
	Open      bool     `cbor:"9,keyasint,omitempty" json:"open,omitempty" doc:"open to new people"`
}

// Time is a time of the week, in minutes of the day, each a full or half hour.
type Time struct {
	Day  int `cbor:"1,keyasint" json:"day" doc:"1: Monday"`
	From int `cbor:"2,keyasint" json:"from"`
	To   int `cbor:"3,keyasint" json:"to"`
}

// Withdraw takes back what other circles may see of you: they are told, and each answers.
type Withdraw struct{}

// Sectors says where postcode sectors are, by their middle; 0 and 0 removes one.
type Sectors struct {
	Sectors []Sector `cbor:"1,keyasint" json:"sectors"`
}

// Sector is a postcode sector and its middle in hundred-thousandths of a degree.
type Sector struct {
	Sector string `cbor:"1,keyasint" json:"sector"`
	Lat    int32  `cbor:"2,keyasint" json:"lat"`
	Lng    int32  `cbor:"3,keyasint" json:"lng"`
}

// Renew has cards that will soon run out count for longer, and takes back those of people who left.
type Renew struct {
	// After is not 0 where others have heard of cards up to this number, which this circle has forgotten,
	// having been put back to an older copy: all cards go behind it.
	After uint64 `cbor:"1,keyasint,omitempty" json:"after,omitempty"`
	// Lost are signed cards of this circle's that it has forgotten: those that took another back, and those
	// of a choice that it knows nothing of any more. All of them are to be forgotten elsewhere too.
	Lost []letter.Signed `cbor:"2,keyasint,omitempty" json:"lost,omitempty"`
}

// Acknowledge keeps another circle's signed word that it has a card no more.
type Acknowledge struct {
	Ack letter.Signed `cbor:"1,keyasint" json:"ack"`
}

// Check implements machine.Checker.
func (c Choose) Check() error {
	if c.Closed.IsSealed() {
		return c.Closed.CheckSealed("card", directory.MaxCardBytes)
	}
	_, err := c.Card.card()
	return err
}

// card is what the choice looks like on a card; its place has no middle yet.
func (c Choice) card() (directory.Card, error) {
	card := directory.Card{
		Name: strings.Join(strings.Fields(c.Name), " "), Words: strings.TrimSpace(c.Words),
		Kinds: directory.TagsOf(c.Kinds), Skills: directory.TagsOf(c.Skills),
		Languages: directory.TagsOf(c.Languages), Rate: c.RatePence, Open: c.Open,
	}
	if card.Name == "" {
		return card, machine.Refuse("name_missing", "Say by which name others may know you.")
	}
	if len(c.Times) > MaxTimes {
		return card, machine.Refuse("too_many", "At most %d times fit on a card.", MaxTimes)
	}
	for _, t := range c.Times {
		if t.Day < 1 || t.Day > 7 || t.From < 0 || t.To > minutesOfDay || t.From >= t.To ||
			t.From%minutesOfSlot != 0 || t.To%minutesOfSlot != 0 {
			return card, machine.Refuse("bad_time",
				"Times go from a full or half hour to a later one of the same day.")
		}
		day := (t.Day - 1) * minutesOfDay
		card.Hours = card.Hours.Add((day+t.From)/minutesOfSlot, (day+t.To)/minutesOfSlot)
	}
	if err := card.CheckChosen(); err != nil {
		return card, machine.Refuse("bad_card", "This does not fit on a card: %v.", err)
	}
	card.Sector = normal(c.Sector)
	if len(card.Sector) > directory.MaxSectorBytes {
		return card, machine.Refuse("sector_unknown",
			"Give the postcode without its last two letters, such as HX7 8.")
	}
	return card, nil
}

// normal is a sector as it is written: HX7 8.
func normal(sector string) string {
	s := strings.ToUpper(strings.Join(strings.Fields(sector), ""))
	if len(s) < 2 {
		return s
	}
	return s[:len(s)-1] + " " + s[len(s)-1:]
}

// Check implements machine.Checker.
func (s Sectors) Check() error {
	if len(s.Sectors) == 0 || len(s.Sectors) > MaxSectorsAtOnce {
		return machine.Refuse("malformed", "Give 1 to %d sectors at once.", MaxSectorsAtOnce)
	}
	for _, x := range s.Sectors {
		c := directory.Card{Sector: normal(x.Sector), At: directory.Point{Lat: x.Lat, Lng: x.Lng}}
		if gone := x.Lat == 0 && x.Lng == 0; c.Sector == "" || !gone && c.CheckChosen() != nil {
			return machine.Refuse("malformed", "%.20q at %d, %d is no postcode sector and its middle.",
				x.Sector, x.Lat, x.Lng)
		}
	}
	return nil
}

// Check implements machine.Checker.
func (r Renew) Check() error {
	if len(r.Lost) > MaxRenewedAtOnce {
		return machine.Refuse("malformed", "At most %d cards at once.", MaxRenewedAtOnce)
	}
	return nil
}
