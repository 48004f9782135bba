package web

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
)

// mineBody is what templates/coins/mine.html shows.
type mineBody struct {
	form
	Balance   balance
	Held      []held
	Statement statementBody
	Abroad    bool // may have a code and coins on their way
	Code      string
	AutoGift  autoGiftBody
}

type balance struct {
	Coins, Unit, Words, CanSpend, Floor, Stopped string
	Pips                                         []string
}

type chip struct{ Text, Tone string }

type held struct {
	Coins, Text string
	State       chip
}

// statementBody is what templates/coins/statement.html and the block "statement" show.
type statementBody struct {
	Lines    []statementLine
	OlderURL string
	Older    bool // not the newest lines
}

type statementLine struct {
	ID, Date, DateISO, What, Who, Note, PictureURL, PictureAlt string
	Change, Unit, ChangeWords, Balance, JourneyURL             string
	In                                                         bool
	State                                                      chip
}

type autoGiftBody struct {
	ID    string
	On    bool
	Words string
	Tos   []option
}

// mine is the page of one's own coins.
func (p *Pages) mine(v *visit) error {
	got, err := ask[coin.Mine](v, v.by, "coin.mine", nil)
	if err != nil {
		return err
	}
	f, err := v.newForm()
	if err != nil {
		return err
	}
	b := mineBody{form: f, Balance: balanceOf(got)}
	if b.Statement, err = p.lines(v, 0); err != nil {
		return err
	}
	if b.AutoGift, err = autoGiftOf(v, got); err != nil {
		return err
	}
	payments, err := ask[exchange.Payments](v, v.by, "exchange.payments", nil)
	if unlessHidden(err) != nil {
		return err
	}
	if err == nil {
		code, err := ask[exchange.Code](v, v.by, "exchange.code", nil)
		if err != nil {
			return err
		}
		b.Abroad, b.Code, b.Held = true, code.Code, p.waiting(payments)
	}
	return v.show(http.StatusOK, "coins/mine", "My coins", wayBack{}, b)
}

func balanceOf(m coin.Mine) balance {
	number, unit, _ := strings.Cut(coins(m.Balance), " ")
	b := balance{
		Coins: number, Unit: unit, Words: hours(m.Balance) + " of support",
		CanSpend: "You can give or spend up to " + coins(m.CanSpend) + ".",
	}
	if m.Balance < 0 {
		b.Words = "You have had " + hours(m.Balance) + " more than you gave. That is what it is there for."
	}
	if m.Floor < 0 {
		b.Floor = "You may go " + coins(-m.Floor) + " below nothing when you need help."
	}
	if m.Held > 0 {
		b.Floor = coins(m.Held) + " are on their way to another circle. " + b.Floor
	}
	if m.Frozen {
		b.Stopped = "Your account is stopped for now: coins cannot leave it. Ask a coordinator why."
		if m.FrozenWhy != "" {
			b.Stopped = "Your account is stopped for now: coins cannot leave it. The reason: " + m.FrozenWhy +
				". Ask a coordinator."
		}
	}
	b.Pips = pips(m.Balance)
	return b
}

// pips draws coins: whole ones, and the last by the quarter.
func pips(minutes int64) []string {
	drawn := []string{}
	if minutes <= 0 || minutes > maxPips*minutesPerCoin {
		return drawn
	}
	for ; minutes >= minutesPerCoin; minutes -= minutesPerCoin {
		drawn = append(drawn, "full")
	}
	switch {
	case minutes >= 45:
		return append(drawn, "three-quarters")
	case minutes >= 30:
		return append(drawn, "half")
	case minutes >= 15:
		return append(drawn, "quarter")
	}
	return drawn
}

func (p *Pages) waiting(all exchange.Payments) []held {
	out := []held{}
	for _, pm := range all.Payments {
		if pm.State == "proposed" && !pm.Incoming {
			out = append(out, held{
				Coins: coins(pm.Minutes), Text: "For someone in " + pm.Name + ", sent " + p.day(pm.At) + ".",
				State: chip{Text: "Waiting for " + pm.Name, Tone: "waiting"},
			})
		}
	}
	return out
}

// statement is a page of older lines: whole, or the lines alone for a page that asks for more.
func (p *Pages) statement(v *visit) error {
	before, err := strconv.ParseUint("0"+v.r.URL.Query().Get("before"), 10, 64)
	if err != nil {
		before = 0
	}
	b, err := p.lines(v, before)
	if err != nil {
		return err
	}
	if v.r.Header.Get("HX-Request") != "" {
		return p.render(v, http.StatusOK, "coins/statement", "statement", b)
	}
	return v.show(http.StatusOK, "coins/statement", "What came and went", backToCoins, b)
}

func (p *Pages) lines(v *visit, before uint64) (statementBody, error) {
	b := statementBody{Lines: []statementLine{}, Older: before > 0}
	got, err := ask[coin.Statement](v, v.by, "coin.statement", filled(coin.StatementQuery{
		Before: before, Limit: statementLines,
	}))
	if err != nil {
		return b, err
	}
	for _, l := range got.Lines {
		line, err := p.line(v, l)
		if err != nil {
			return b, err
		}
		b.Lines = append(b.Lines, line)
	}
	if got.Before > 0 {
		b.OlderURL = "/coins/statement?before=" + strconv.FormatUint(got.Before, 10)
	}
	return b, nil
}

func (p *Pages) line(v *visit, l coin.StatementLine) (statementLine, error) {
	s := statementLine{
		ID: strconv.FormatUint(l.N, 10), Date: upperFirst(p.day(l.At)), DateISO: iso(l.At), Note: l.Note,
		Change: signedCoins(l.Change), Balance: bareCoins(l.Balance), In: l.Change > 0,
	}
	_, s.Unit, _ = strings.Cut(coins(l.Change), " ")
	s.ChangeWords = strings.TrimPrefix(coins(l.Change), "−") + " out"
	if s.In {
		s.ChangeWords = coins(l.Change) + " in"
		s.JourneyURL = "/coins/journey?lot=" + l.Transfer.String()
	}
	if l.Undone {
		s.State = chip{Text: "Undone later", Tone: "back"}
		s.JourneyURL = ""
	}
	s.What, s.Who = what(l)
	if l.Picture {
		shown, err := ask[coin.Shown](v, v.self(), "coin.picture",
			filled(coin.PictureQuery{Transfer: l.Transfer}))
		if err != nil {
			return s, err
		}
		s.PictureURL, s.PictureAlt = pictureURL(l.Transfer), altOf(shown.Alt)
	}
	return s, nil
}

func pictureURL(transfer machine.ID) string { return "/pictures/" + transfer.String() }

func altOf(alt string) string {
	if alt == "" {
		return "The picture that came with these coins"
	}
	return alt
}

// what puts a line of a statement in words, and adds what it was for.
func what(l coin.StatementLine) (title, more string) {
	in := l.Change > 0
	more = joined(", ", upperFirst(l.Activity), l.Place)
	switch l.Reason {
	case coin.ReasonEarn:
		return "Time I gave to the group", more
	case coin.ReasonPay:
		if in {
			return upperFirst(l.OtherName) + " thanked me", more
		}
		return "I thanked " + l.OtherName, more
	case coin.ReasonGift:
		if in {
			return upperFirst(l.OtherName) + " gave me coins", more
		}
		return "I gave to " + l.OtherName, more
	case coin.ReasonAutoGift:
		return "Given on by itself to " + l.OtherName, more
	case coin.ReasonWelcome:
		return "Welcome gift", "From the pool: hours that somebody gave"
	case coin.ReasonAbroad:
		if in {
			return "From someone in " + l.OtherName, joined(", ", upperFirst(l.Activity))
		}
		return "I gave to someone in " + l.OtherName, more
	case coin.ReasonReverse:
		return "Put right", more
	case coin.ReasonKept:
		return "From before the circle's books were put back", "Kept for me meanwhile"
	default:
		return upperFirst(l.Reason), more
	}
}

func joined(between string, parts ...string) string {
	kept := parts[:0:0]
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, between)
}

func upperFirst(text string) string {
	for i, r := range text {
		return strings.ToUpper(string(r)) + text[i+len(string(r)):]
	}
	return text
}

func autoGiftOf(v *visit, m coin.Mine) (autoGiftBody, error) {
	id, err := v.pages.cfg.NewID()
	if err != nil {
		return autoGiftBody{}, err
	}
	b := autoGiftBody{ID: id.String(), Words: "Nothing is given on by itself. You decide each time."}
	if m.AutoGift != "" {
		b.On, b.Words = true, "All that I earn from the circle goes to "+m.AutoGiftName+" by itself."
	}
	common, err := v.commons()
	if err != nil {
		return b, err
	}
	b.Tos = append([]option{{Value: "", Text: "Keep them", Selected: m.AutoGift == ""}},
		choose(common, m.AutoGift)...)
	return b, nil
}

// commons lists the accounts that belong to all and can be given coins: the pool and the places.
func (v *visit) commons() ([]option, error) {
	overview, err := ask[coin.Overview](v, v.by, "coin.overview", nil)
	if err != nil {
		return nil, err
	}
	options := []option{}
	for _, a := range overview.Accounts {
		switch a.Kind {
		case coin.KindPool:
			options = append([]option{{Value: a.Account, Text: "The pool, for everyone"}}, options...)
		case coin.KindPlace:
			options = append(options, option{Value: a.Account, Text: a.Name})
		}
	}
	return options, nil
}

func (p *Pages) autoGift(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	_, err := do[machine.None](v, v.by, v.typed("id"), "coin.autogift", coin.AutoGift{To: v.typed("to")})
	if err != nil {
		return err
	}
	return v.done("/coins", "autogift")
}

// codeLetters are those that cannot be taken for one another when read out or copied.
const codeLetters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

// newCode draws a receiving code.
func newCode() (string, error) {
	var drawn [8]byte
	if _, err := rand.Read(drawn[:]); err != nil {
		return "", err
	}
	for i, b := range drawn {
		drawn[i] = codeLetters[int(b)%len(codeLetters)]
	}
	return string(drawn[:]), nil
}

// drawCode gives the person a new receiving code.
func (p *Pages) drawCode(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	code, err := newCode()
	if err != nil {
		return err
	}
	_, err = do[machine.None](v, v.by, v.typed("id"), "exchange.code", exchange.SetCode{Code: code})
	if e, ok := refusalOf(err); ok && e.Code == "id_reused" { // pressed twice: the first code stands
		err = nil
	}
	if err != nil {
		return err
	}
	return v.done("/coins", "code")
}
