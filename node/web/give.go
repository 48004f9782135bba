package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// giveBody is what templates/coins/give.html shows.
type giveBody struct {
	form
	CanSpend              string
	People, Places, Pools []option
	Coins, Note, Alt      string
	NoteMax               string
	to                    string
	picture               []byte
}

// payBody is what templates/coins/pay.html shows.
type payBody struct {
	form
	CanSpend     string
	People       []option
	Kinds        []option
	Coins, Note  string
	NoteMax      string
	to, activity string
}

// givenBody is what templates/coins/given.html shows.
type givenBody struct {
	Title, Words, Waiting, Balance string
	Note, PictureURL, PictureAlt   string
	JourneyURL                     string
}

// kindsOfHelp are offered for choice; the circle takes any words.
var kindsOfHelp = []string{
	"company", "a lift", "a meal", "shopping", "gardening", "housework", "a repair", "a listening ear",
	"teaching", "care", "other help",
}

func helpOptions() []option {
	options := make([]option, 0, len(kindsOfHelp))
	for _, kind := range kindsOfHelp {
		options = append(options, option{Value: kind, Text: upperFirst(kind)})
	}
	return options
}

var backToCoins = wayBack{Href: "/coins", Text: "Back to my coins"}

// neighbours lists the members that may be chosen: those who chose to be seen, without the person themselves.
func (v *visit) neighbours() ([]option, error) {
	people, err := v.people()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(people, func(o option) bool { return o.Value == v.by.Person() }), nil
}

func (v *visit) people() ([]option, error) {
	list, err := ask[member.People](v, v.self(), "member.list", nil)
	if err != nil {
		return nil, err
	}
	options := []option{}
	for _, m := range list.People {
		if m.Active {
			options = append(options, option{Value: m.Person, Text: m.Name})
		}
	}
	slices.SortStableFunc(options, func(a, b option) int { return strings.Compare(a.Text, b.Text) })
	return options, nil
}

func (v *visit) canSpend(sentence string) (string, error) {
	mine, err := ask[coin.Mine](v, v.by, "coin.mine", nil)
	return sentence + coins(mine.CanSpend) + ".", err
}

func (p *Pages) giveForm(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return p.showGive(v, giveBody{form: f, to: v.r.URL.Query().Get("to")})
}

func (p *Pages) showGive(v *visit, b giveBody) error {
	var err error
	if b.CanSpend, err = v.canSpend("You can give up to "); err != nil {
		return err
	}
	people, err := v.neighbours()
	if err != nil {
		return err
	}
	commons, err := v.commons()
	if err != nil {
		return err
	}
	b.People = choose(people, b.to)
	b.Pools, b.Places = []option{}, []option{}
	for _, c := range choose(commons, b.to) {
		if c.Value == coin.Pool {
			b.Pools = append(b.Pools, c)
		} else {
			b.Places = append(b.Places, c)
		}
	}
	b.NoteMax = strconv.Itoa(coin.MaxNoteRunes)
	return v.show(b.status, "coins/give", "Give coins", backToCoins, b)
}

var giveFields = fields{
	"bad_amount": "coins", "floor_passed": "coins", "to_nobody": "to", "to_self": "to",
	"person_unknown": "to",
	"place_unknown":  "to", "bad_picture": "picture", "too_large": "picture", "bad_text": "note",
	"account_frozen": "", "account_closed": "to",
}

func (p *Pages) give(v *visit) error {
	raw, err := v.readFormWithFile("picture")
	if err != nil {
		return err
	}
	b := giveBody{to: v.typed("to"), Coins: v.typed("coins"), Note: v.words("note"), Alt: v.typed("alt")}
	if b.form, err = v.sentForm(); err != nil {
		return err
	}
	minutes, sentence := minutesOf(b.Coins)
	if b.to == "" {
		b.refuse("to", "Say who the coins are for.")
	}
	if sentence != "" {
		b.refuse("coins", sentence)
	}
	if len(raw) > 0 {
		b.picture, err = p.prepare(v.r.Context(), raw)
		if e, ok := refusalOf(err); ok {
			b.refuse("picture", e.Message)
		} else if err != nil {
			return err
		}
	}
	if b.wrong() {
		return p.showGive(v, b)
	}
	body := coin.Give{To: b.to, Minutes: minutes, Note: machine.Text(v.by.Person(), b.Note)}
	if b.picture != nil {
		body.Picture = &coin.Picture{Data: b.picture, Alt: machine.Text("", b.Alt)}
	}
	moved, err := do[coin.Moved](v, v.by, b.ID, "coin.give", body)
	if err != nil {
		if err := b.take(v, err, giveFields); err != nil {
			return err
		}
		return p.showGive(v, b)
	}
	return v.seeOther("/coins/done?gift=" + moved.Transfer.String())
}

func (p *Pages) payForm(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return p.showPay(v, payBody{form: f, to: v.r.URL.Query().Get("to")})
}

func (p *Pages) showPay(v *visit, b payBody) error {
	var err error
	if b.CanSpend, err = v.canSpend("You can spend up to "); err != nil {
		return err
	}
	people, err := v.neighbours()
	if err != nil {
		return err
	}
	b.People, b.Kinds = choose(people, b.to), choose(helpOptions(), b.activity)
	b.NoteMax = strconv.Itoa(coin.MaxNoteRunes)
	return v.show(b.status, "coins/pay", "Thank someone for help", backToCoins, b)
}

var payFields = fields{
	"bad_amount": "coins", "floor_passed": "coins", "to_nobody": "to", "to_self": "to",
	"person_unknown": "to",
	"name_missing":   "kind", "bad_text": "note", "account_closed": "to",
}

func (p *Pages) pay(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	b := payBody{to: v.typed("to"), activity: v.typed("kind"), Coins: v.typed("coins"), Note: v.words("note")}
	var err error
	if b.form, err = v.sentForm(); err != nil {
		return err
	}
	minutes, sentence := minutesOf(b.Coins)
	if b.to == "" {
		b.refuse("to", "Say who helped you.")
	}
	if b.activity == "" {
		b.refuse("kind", "Choose what kind of help it was.")
	}
	if sentence != "" {
		b.refuse("coins", sentence)
	}
	if b.wrong() {
		return p.showPay(v, b)
	}
	moved, err := do[coin.Moved](v, v.by, b.ID, "coin.pay", coin.Pay{
		To: b.to, Minutes: minutes, Activity: b.activity, Note: machine.Text(v.by.Person(), b.Note),
	})
	if err != nil {
		if err := b.take(v, err, payFields); err != nil {
			return err
		}
		return p.showPay(v, b)
	}
	return v.seeOther("/coins/done?gift=" + moved.Transfer.String())
}

// given says what was just given, paid or sent: found again among one's own acts.
func (p *Pages) given(v *visit) error {
	mine, err := ask[coin.Mine](v, v.by, "coin.mine", nil)
	if err != nil {
		return err
	}
	b := givenBody{Balance: "You now have " + coins(mine.Balance) + "."}
	found, err := p.findGift(v, &b)
	if err != nil {
		return err
	}
	if !found {
		if found, err = p.findPayment(v, &b); err != nil {
			return err
		}
	}
	if !found {
		return v.seeOther("/coins")
	}
	return v.show(http.StatusOK, "coins/given", "Thank you", backToCoins, b)
}

func (p *Pages) findGift(v *visit, b *givenBody) (bool, error) {
	id := v.r.URL.Query().Get("gift")
	got, err := ask[coin.Statement](v, v.by, "coin.statement",
		filled(coin.StatementQuery{Limit: statementLines}))
	if err != nil {
		return false, err
	}
	at := slices.IndexFunc(got.Lines, func(l coin.StatementLine) bool {
		return l.Transfer.String() == id && l.Change < 0
	})
	if at < 0 {
		return false, nil
	}
	l := got.Lines[at]
	line, err := p.line(v, l)
	if err != nil {
		return false, err
	}
	b.Title = "You gave " + coins(-l.Change) + " to " + l.OtherName
	if l.Reason == coin.ReasonPay {
		b.Title = "You thanked " + l.OtherName + " with " + coins(-l.Change)
	}
	b.Words = "That is " + hours(l.Change) + " of care."
	b.Note, b.PictureURL, b.PictureAlt = line.Note, line.PictureURL, line.PictureAlt
	b.JourneyURL = "/coins/journey?lot=" + id
	return true, nil
}

func (p *Pages) findPayment(v *visit, b *givenBody) (bool, error) {
	id := v.r.URL.Query().Get("payment")
	all, err := ask[exchange.Payments](v, v.by, "exchange.payments", nil)
	if err != nil {
		return false, unlessHidden(err)
	}
	at := slices.IndexFunc(all.Payments, func(pm exchange.Payment) bool {
		return pm.Payment.String() == id && !pm.Incoming
	})
	if at < 0 {
		return false, nil
	}
	pm := all.Payments[at]
	b.Title = "You sent " + coins(pm.Minutes) + " to someone in " + pm.Name
	b.Words = "That is " + hours(pm.Minutes) + " of care."
	_, b.Waiting = paymentWords(pm)
	return true, nil
}
