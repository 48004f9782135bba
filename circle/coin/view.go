package coin

import (
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/ledger"
)

// MaxStatementLines bounds one page of a statement.
const MaxStatementLines = 100

// Mine is a person's coins at a glance. All amounts are minutes.
type Mine struct {
	Account      string `json:"account"`
	Balance      int64  `json:"balanceMinutes"`  // posted
	Held         int64  `json:"heldMinutes"`     // waiting on another circle
	CanSpend     int64  `json:"canSpendMinutes"` // down to the floor
	Floor        int64  `json:"floorMinutes"`
	Frozen       bool   `json:"frozen"`
	FrozenWhy    string `json:"frozenWhy,omitempty"`
	AutoGift     string `json:"autoGift"`
	AutoGiftName string `json:"autoGiftName"`
}

// StatementQuery asks for a page of an account's statement, newest first.
type StatementQuery struct {
	Account string `json:"account,omitempty" doc:"pool, issuance, place/NAME or circle/ID; empty: your own"`
	Before  uint64 `json:"before,omitempty" doc:"line number to go on below; 0: from the newest"`
	Limit   int    `json:"limit,omitempty" doc:"at most 100 lines; 0: 25"`
}

// StatementLine is a line of a statement.
type StatementLine struct {
	N         uint64     `json:"n"`
	Transfer  machine.ID `json:"transfer"`
	At        int64      `json:"at"` // when it took effect
	Reason    string     `json:"reason"`
	Other     string     `json:"other"`     // the account on the other side
	OtherName string     `json:"otherName"` // as far as the reader may know it
	Activity  string     `json:"activity,omitempty"`
	Place     string     `json:"place,omitempty"`
	Note      string     `json:"note,omitempty"`
	Picture   bool       `json:"picture,omitempty"`
	Change    int64      `json:"changeMinutes"`
	Balance   int64      `json:"balanceMinutes"`
	Held      int64      `json:"heldMinutes"`
	Undone    bool       `json:"undone,omitempty"`
}

// Statement is a page of an account's lines, newest first.
type Statement struct {
	Account string          `json:"account"`
	Lines   []StatementLine `json:"lines"`
	Before  uint64          `json:"before"` // to ask for the next page; 0: there is none
}

// Balance is one account of the circle, as members may see it.
type Balance struct {
	Account string `json:"account"`
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	State   string `json:"state"`
	Minutes int64  `json:"minutes"`
	HeldOut int64  `json:"heldOutMinutes"`
	HeldIn  int64  `json:"heldInMinutes"`
	Floor   *int64 `json:"floorMinutes,omitempty"`   // absent: no limit
	Ceiling *int64 `json:"ceilingMinutes,omitempty"` // absent: no limit
}

// Overview is the whole book in totals and common accounts; every account for whoever runs the node.
type Overview struct {
	Accounts   []Balance `json:"accounts"`
	People     int       `json:"people"`        // persons with an account
	PeopleSum  int64     `json:"peopleMinutes"` // what they hold together
	SumMinutes int64     `json:"sumMinutes"`    // always 0
	Entries    uint64    `json:"entries"`
}

// PictureQuery names the gift a picture came with.
type PictureQuery struct {
	Transfer machine.ID `json:"transfer"`
}

// Shown is a picture and what it shows.
type Shown struct {
	Data []byte `json:"data"`
	Alt  string `json:"alt"`
}

// PolicyAnswer is the coin policy in force.
type PolicyAnswer struct {
	FloorMinutes   int64  `json:"floorMinutes"`
	WelcomeMinutes int64  `json:"welcomeMinutes"`
	AutoGift       bool   `json:"autoGift"`
	EarnDayMinutes int64  `json:"earnDayMinutes"`
	ReviewOn       string `json:"reviewOn"`
	Decision       string `json:"decision"`
	Since          int64  `json:"since"`
}

func views() []machine.View {
	return []machine.View{
		machine.Ask("coin.policy", "The circle's coin policy.", machine.Anyone, viewPolicy),
		machine.Ask("coin.mine", "Your coins at a glance.", member.Signed, mine),
		machine.Ask("coin.statement", "What came and went on an account.", member.Reading, statement),
		machine.Ask("coin.overview", "The circle's coin accounts.", member.Reading, overview),
		machine.Ask("coin.picture", "The picture that came with a gift.", member.Reading, picture),
		machine.Ask("coin.journey", "Where your coins came from and went.", member.Signed, journey),
	}
}

func viewPolicy(rd machine.Read, _ machine.None) (PolicyAnswer, error) {
	p, err := PolicyOf(rd)
	return PolicyAnswer{
		FloorMinutes: p.FloorMinutes, WelcomeMinutes: p.WelcomeMinutes, AutoGift: p.AutoGift,
		EarnDayMinutes: p.EarnDayMinutes, ReviewOn: p.ReviewOn, Decision: p.Decision, Since: p.Since,
	}, err
}

func mine(rd machine.Read, _ machine.None) (Mine, error) {
	id := rd.Person()
	a, ok := ReadBooks(rd).Account(Book, id)
	if !ok { // not opened yet: as it would be opened
		p, err := PolicyOf(rd)
		if err != nil {
			return Mine{}, err
		}
		a = ledger.Account{Book: Book, ID: id, Floor: p.FloorMinutes}
	}
	wish, _ := wishes.Get(rd, machine.Key{}.Str(id))
	out := Mine{
		Account: id, Balance: a.Posted, Held: a.HeldOut, CanSpend: max(a.Available(), 0), Floor: a.Floor,
		Frozen: a.State == ledger.StateFrozen, AutoGift: wish.AutoGift,
	}
	if out.Frozen {
		why, _ := stops.Get(rd, machine.Key{}.Str(id))
		out.FrozenWhy = rd.Text(why)
	}
	if wish.AutoGift != "" {
		out.AutoGiftName = NameOf(rd, wish.AutoGift)
	}
	return out, nil
}

// actOf finds what an entry was. A settled hold's act is kept under the hold.
func actOf(r machine.Reader, t *ledger.Transfer) (Act, bool) {
	if t == nil {
		return Act{}, false
	}
	if act, ok := importedAct(r, t); ok {
		return act, true
	}
	id := t.ID
	if t.Op == ledger.OpSettle || t.Op == ledger.OpVoid {
		id = t.Of
	}
	return acts.Get(r, machine.Key{}.Bytes(id[:]))
}

func statement(rd machine.Read, q StatementQuery) (Statement, error) {
	account := q.Account
	if account == "" {
		account = rd.Person()
	}
	if kindOf(account) == KindPerson && account != rd.Person() && rd.Actor != machine.ActorOperator {
		return Statement{}, machine.Refuse("not_allowed", "This is somebody else's statement.")
	}
	most := q.Limit
	if most <= 0 {
		most = 25
	}
	most = min(most, MaxStatementLines)
	books := ReadBooks(rd)
	out := Statement{Account: account, Lines: []StatementLine{}}
	a, ok := books.Account(Book, account)
	if strings.ContainsRune(account, 0) || !ok {
		return out, nil
	}
	n := a.Lines
	if q.Before > 0 {
		n = min(n, q.Before-1)
	}
	for ; n > 0 && len(out.Lines) < most; n-- {
		line, _ := books.Line(Book, account, n)
		entry, _ := books.Entry(line.Seq)
		if line.Change != 0 {
			out.Lines = append(out.Lines, statementLine(rd, account, line, entry))
		}
	}
	if n > 0 {
		out.Before = n + 1
	}
	return out, nil
}

func statementLine(rd machine.Read, account string, line ledger.Line, e ledger.Entry) StatementLine {
	s := StatementLine{
		N: line.N, Transfer: machine.ID(e.Transfer.ID), At: e.Effective(), Reason: e.Transfer.Reason,
		Change: line.Change, Balance: line.Posted, Held: line.HeldOut,
	}
	record, _ := ReadBooks(rd).Record(e.Transfer.ID)
	s.Undone = record.Status == ledger.StatusReversed
	act, ok := actOf(rd, e.Transfer)
	if !ok {
		return s
	}
	s.Reason, s.Activity, s.Place = act.Reason, act.Activity, act.Place
	s.Picture = act.Picture
	s.Other = act.From
	if act.From == account {
		s.Other = act.To
	}
	s.OtherName = NameOf(rd, s.Other)
	if kindOf(s.Other) == KindPerson && s.OtherName == member.Unnamed {
		s.Other = ""
	}
	party := account == rd.Person() || rd.Person() == act.From || rd.Person() == act.To
	if party || act.Travels {
		s.Note = said(rd, act, act.Note)
	}
	return s
}

func overview(rd machine.Read, _ machine.None) (Overview, error) {
	out := Overview{Accounts: []Balance{}, Entries: ReadBooks(rd).Head()}
	ReadBooks(rd).Accounts(Book, func(a ledger.Account) bool {
		out.SumMinutes += a.Posted
		if a.Kind == KindPerson {
			out.People++
			out.PeopleSum += a.Posted
		}
		if a.Kind != KindPerson || rd.Actor == machine.ActorOperator {
			out.Accounts = append(out.Accounts, Balance{
				Account: a.ID, Name: NameOf(rd, a.ID), Kind: a.Kind, State: a.State.String(),
				Minutes: a.Posted, HeldOut: a.HeldOut, HeldIn: a.HeldIn,
				Floor: limit(a.Floor), Ceiling: limit(a.Ceiling),
			})
		}
		return true
	})
	return out, nil
}

// limit is nil where there is none.
func limit(minutes int64) *int64 {
	if minutes == ledger.Unlimited || minutes == -ledger.Unlimited {
		return nil
	}
	return &minutes
}

func picture(rd machine.Read, q PictureQuery) (Shown, error) {
	key := machine.Key{}.Bytes(q.Transfer[:])
	sealed, ok := pictures.Get(rd, key)
	act, _ := acts.Get(rd, key)
	data := said(rd, act, sealed)
	if !ok || data == "" {
		return Shown{}, machine.Refuse("picture_unknown", "There is no picture with this gift.")
	}
	return Shown{Data: []byte(data), Alt: said(rd, act, act.Alt)}, nil
}
