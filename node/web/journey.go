package web

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/coin"
)

// journeyBody is what templates/coins/journey.html shows.
type journeyBody struct {
	Lots     []lotLink
	Name     string
	Summary  string
	Stations []station
	Possible []string
}

type lotLink struct {
	URL, Name, When string
	Current         bool
}

type station struct {
	Icon, Act, Where, Date, DateISO, Text, Poem string
	PictureURL, PictureAlt                      string
	Now                                         bool
}

// journey follows one's coins. The query "lot" names a lot by its key, or an act that the lot went through.
func (p *Pages) journey(v *visit) error {
	got, err := ask[coin.Journey](v, v.by, "coin.journey", nil)
	if err != nil {
		return err
	}
	b := journeyBody{Lots: []lotLink{}, Stations: []station{}, Possible: []string{}}
	lots := slices.Concat(got.Held, got.Passed)
	chosen := chosenLot(lots, v.r.URL.Query().Get("lot"))
	for i, l := range lots {
		link := lotLink{URL: "/coins/journey?lot=" + keyOf(l), Name: p.lotName(l), Current: i == chosen}
		link.When = p.began(l) + "I have these"
		if i >= len(got.Held) {
			link.When = p.began(l) + "I passed these on"
		}
		b.Lots = append(b.Lots, link)
	}
	if chosen >= 0 {
		l := lots[chosen]
		b.Name = p.lotName(l)
		b.Summary = p.summary(l)
		for i, s := range l.Steps {
			st := p.station(s)
			st.Now = i == len(l.Steps)-1
			b.Stations = append(b.Stations, st)
		}
		b.Possible = possible(l)
	}
	return v.show(http.StatusOK, "coins/journey", "The journey of coins", wayBack{}, b)
}

// chosenLot finds a lot; the first where none is named or it is not there any more, -1 where there are none.
func chosenLot(lots []coin.Lot, named string) int {
	at := slices.IndexFunc(lots, func(l coin.Lot) bool {
		return keyOf(l) == named || slices.ContainsFunc(l.Steps, func(s coin.Step) bool {
			return s.Transfer.String() == named
		})
	})
	if at < 0 && len(lots) > 0 {
		return 0
	}
	return at
}

// keyOf names a lot by its way: it stays the same until the coins move on.
func keyOf(l coin.Lot) string {
	way := []byte{}
	for _, s := range l.Steps {
		way = binary.BigEndian.AppendUint64(way, s.Seq)
	}
	sum := sha256.Sum256(way)
	return hex.EncodeToString(sum[:6])
}

func (p *Pages) lotName(l coin.Lot) string {
	name := coins(l.Minutes)
	if len(l.Steps) == 0 {
		return name
	}
	first := l.Steps[0]
	switch {
	case first.Activity != "":
		return name + " from " + first.Activity
	case first.Reason == coin.ReasonAbroad && first.Who != "":
		return name + " from " + first.Who
	default:
		return name
	}
}

// began says since when coins have been on their way.
func (p *Pages) began(l coin.Lot) string {
	if len(l.Steps) == 0 {
		return ""
	}
	return "Since " + p.day(l.Steps[0].At) + ". "
}

func (p *Pages) summary(l coin.Lot) string {
	if len(l.Steps) == 0 {
		return ""
	}
	first := l.Steps[0]
	words := "Their way began " + on(p.day(first.At))
	if first.Place != "" {
		words += " in " + first.Place
	}
	care := int64(0)
	for _, s := range l.Steps {
		if s.Reason == coin.ReasonPay {
			care++
		}
	}
	if care > 0 {
		return words + ". Since then they have said thank you " + times(care) + "."
	}
	return words + "."
}

func on(day string) string {
	if day == "today" || day == "yesterday" {
		return day
	}
	return "on " + day
}

func times(n int64) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	default:
		return count(n, "time")
	}
}

// station puts one act of a coin's life in words. Only those who agreed are named.
func (p *Pages) station(s coin.Step) station {
	st := station{
		Date: upperFirst(p.day(s.At)), DateISO: iso(s.At), Where: s.Place, Poem: s.Note,
		Icon: iconOf(s.Activity),
	}
	if s.Picture {
		st.PictureURL, st.PictureAlt = pictureURL(s.Transfer), altOf(s.Alt)
	}
	who, to := someone(s.Who), someone(s.To)
	switch s.Reason {
	case coin.ReasonEarn:
		st.Act = upperFirst(orElse(s.Activity, "time given"))
		st.Text = upperFirst(who) + " gave this time to the whole group."
	case coin.ReasonPay:
		st.Act = upperFirst(orElse(s.Activity, "help"))
		st.Text = upperFirst(who) + " thanked " + to + " for it."
	case coin.ReasonGift:
		st.Act, st.Icon = "A gift", "gift"
		st.Text = upperFirst(who) + " gave them to " + to + "."
	case coin.ReasonAutoGift:
		st.Act, st.Icon = "Given on at once", "gift"
		st.Text = upperFirst(who) + " had them given to " + to + "."
	case coin.ReasonWelcome:
		st.Act, st.Icon = "A welcome", "door"
		st.Text = "The pool gave them to " + to + " to begin with."
	case coin.ReasonAbroad:
		st.Act, st.Icon = upperFirst(orElse(s.Activity, "from circle to circle")), "link"
		st.Text = "They came from " + who + " to " + to + "."
		if s.Kind == coin.KindCircle {
			st.Text = upperFirst(who) + " gave them to someone in " + to + "."
		}
	case coin.ReasonKept:
		st.Act, st.Icon = "Kept", "tick"
		st.Text = "They were kept for " + to + " while the circle's books were put back."
	default:
		st.Act, st.Icon = "Put right", "tick"
		st.Text = "They went back to " + to + "."
	}
	return st
}

// someone names a person or account in a journey; those who did not agree are not named.
func someone(name string) string { return orElse(name, "someone in our circle") }

func orElse(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}

// possible lists the care that coins paid for after they left the reader.
func possible(l coin.Lot) []string {
	out := []string{}
	mine := slices.IndexFunc(l.Steps, func(s coin.Step) bool { return s.To == "you" })
	if mine < 0 {
		return out
	}
	for _, s := range l.Steps[mine+1:] {
		if s.Reason == coin.ReasonPay && s.Activity != "" && s.Who != "you" {
			out = append(out, upperFirst(s.Activity))
		}
	}
	return out
}

// iconsByWord find a picture for an activity by a word in it.
var iconsByWord = []struct{ word, icon string }{
	{"garden", "garden"},
	{"lunch", "meal"},
	{"meal", "meal"},
	{"cook", "meal"},
	{"food", "meal"},
	{"shop", "shopping"},
	{"lift", "car"},
	{"drive", "car"},
	{"company", "company"},
	{"tea", "company"},
	{"visit", "company"},
	{"walk", "walk"},
	{"repair", "repair"},
	{"fix", "repair"},
	{"listen", "listen"},
	{"phone", "listen"},
	{"teach", "book"},
	{"read", "book"},
	{"office", "book"},
	{"house", "home"},
	{"clean", "home"},
	{"group", "people"},
	{"meeting", "people"},
}

func iconOf(activity string) string {
	activity = strings.ToLower(activity)
	for _, known := range iconsByWord {
		if strings.Contains(activity, known.word) {
			return known.icon
		}
	}
	return "heart"
}
