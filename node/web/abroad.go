package web

import (
	"strconv"
	"strings"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/payment"
)

// abroadBody is what templates/coins/abroad.html shows.
type abroadBody struct {
	form
	CanSpend          string
	Circles           []otherCircle
	Kinds             []option
	Code, Coins, Note string
	NoteMax           string
	Sent              []sent
	circle, activity  string
}

type otherCircle struct {
	Value, Name, Place, Position, CanSend string
	Selected                              bool
	accountBar
}

// accountBar draws where the account with another circle stands.
type accountBar struct {
	Mark     int64 // 0: we owe the whole limit, 50: even, 100: they owe it
	BarWords string
	OwedByUs bool
}

type sent struct {
	Coins, Circle, Date, DateISO, Words string
	Incoming                            bool
	State                               chip
}

// position says how two circles stand: minutes above zero are owed by us.
func position(minutes int64) string {
	switch {
	case minutes > 0:
		return "We owe them " + coins(minutes)
	case minutes < 0:
		return "They owe us " + coins(-minutes)
	default:
		return "We are even"
	}
}

func barOf(minutes, limit int64) accountBar {
	b := accountBar{Mark: 50, OwedByUs: minutes > 0, BarWords: position(minutes)}
	if limit > 0 {
		b.Mark = min(100, max(0, 50-50*minutes/limit))
		b.BarWords += " of at most " + coins(limit)
	}
	return b
}

func (p *Pages) abroadForm(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return p.showAbroad(v, abroadBody{form: f, circle: v.r.URL.Query().Get("circle")})
}

func (p *Pages) showAbroad(v *visit, b abroadBody) error {
	var err error
	if b.CanSpend, err = v.canSpend("You can send up to "); err != nil {
		return err
	}
	known, err := ask[exchange.Alliances](v, v.self(), "exchange.alliances", nil)
	if err != nil {
		return err
	}
	b.Circles = []otherCircle{}
	for _, a := range known.Alliances {
		if a.State != "in-force" {
			continue
		}
		b.Circles = append(b.Circles, otherCircle{
			Value: a.Circle, Name: a.Name, Place: a.Place, Position: position(a.Minutes),
			CanSend: roomFor(a), Selected: a.Circle == b.circle, accountBar: barOf(a.Minutes, a.LimitMinutes),
		})
	}
	if len(b.Circles) == 1 {
		b.Circles[0].Selected = true
	}
	all, err := ask[exchange.Payments](v, v.by, "exchange.payments", nil)
	if err != nil {
		return err
	}
	b.Sent = []sent{}
	for _, pm := range all.Payments {
		state, words := paymentWords(pm)
		b.Sent = append(b.Sent, sent{
			Coins: coins(pm.Minutes), Circle: pm.Name, Date: p.day(pm.At), DateISO: iso(pm.At), Words: words,
			Incoming: pm.Incoming, State: state,
		})
	}
	b.Kinds = choose(helpOptions(), b.activity)
	b.NoteMax = strconv.Itoa(exchange.MaxNoteRunes)
	return v.show(b.status, "coins/abroad", "Give to another circle", backToCoins, b)
}

// roomFor says how much more can go to a circle before the limit.
func roomFor(a exchange.Alliance) string {
	room := a.LimitMinutes - a.Minutes - a.HeldMinutes
	if room <= 0 {
		return "The limit is reached: nothing can be sent until some coins come back."
	}
	return "Up to " + coins(room) + " can go there now."
}

// reasonWords say why another circle sent coins back; %s is its name.
var reasonWords = map[string]string{
	payment.ReasonAliasUnknown: "Nobody there has this code.",
	payment.ReasonExpired:      "The answer took too long.",
	payment.ReasonCancelled:    "They were called back, for the answer took too long.",
	payment.ReasonLimit:        "The limit between our circles was reached.",
	payment.ReasonFrozen:       "The account there is stopped for now.",
	payment.ReasonClosed:       "There is no agreement between our circles there.",
	payment.ReasonAborted:      "Nobody there answered for a long time, so the hub decided.",
}

// paymentWords puts the state of a payment in words: a short chip and a sentence.
func paymentWords(pm exchange.Payment) (state chip, words string) {
	reason, known := reasonWords[pm.Reason]
	if !known {
		reason = pm.Name + " did not take them."
	}
	switch {
	case pm.Incoming && pm.State == "settled":
		return chip{Text: "Arrived", Tone: "done"}, "They are in your coins."
	case pm.Incoming:
		return chip{Text: "Went back", Tone: "back"}, "They went back to " + pm.Name + "."
	case pm.State == "settled":
		return chip{Text: "Arrived", Tone: "done"}, pm.Name + " said yes, and the coins arrived."
	case pm.State == "returned":
		return chip{Text: "Came back", Tone: "back"}, reason + " You have your coins back."
	default:
		return chip{Text: "Waiting for " + pm.Name + " to answer", Tone: "waiting"},
			"Your coins are set aside until " + pm.Name + " answers."
	}
}

var abroadFields = fields{
	"bad_amount": "coins", "floor_passed": "coins", "to_nobody": "code", "bad_code": "code",
	"bad_text":      "note",
	"limit_reached": "circle", "no_alliance": "circle", "unknown_circle": "circle", "frozen": "circle",
	"too_many": "circle",
}

func (p *Pages) abroad(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	b := abroadBody{
		circle: v.typed("circle"), activity: v.typed("kind"), Code: v.typed("code"), Coins: v.typed("coins"),
		Note: v.words("note"),
	}
	var err error
	if b.form, err = v.sentForm(); err != nil {
		return err
	}
	minutes, sentence := minutesOf(b.Coins)
	if b.circle == "" {
		b.refuse("circle", "Choose a circle.")
	}
	if b.Code == "" {
		b.refuse("code", "Fill in the code of the person in the other circle.")
	}
	if sentence != "" {
		b.refuse("coins", sentence)
	}
	if b.wrong() {
		return p.showAbroad(v, b)
	}
	paid, err := do[exchange.Paid](v, v.by, b.ID, "exchange.pay", exchange.Pay{
		Circle: b.circle, Code: plainCode(b.Code), Minutes: minutes, Activity: b.activity,
		Note: machine.Text(v.by.Person(), b.Note),
	})
	if err != nil {
		if err := b.take(v, err, abroadFields); err != nil {
			return err
		}
		return p.showAbroad(v, b)
	}
	return v.seeOther("/coins/done?payment=" + paid.Payment.String())
}

// plainCode takes out what people put into a code to read it more easily.
func plainCode(typed string) string {
	return strings.NewReplacer(" ", "", "-", "").Replace(strings.ToUpper(typed))
}

// circleAccount is the name of a circle's account.
func circleAccount(circle string) string { return coin.CirclePrefix + circle }
