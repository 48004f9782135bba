package ledger

import "slices"

// ApplyPage carries out the moves of a page, at a time in unix ms: all of them in order, or none. Each sees
// what those before it did, and each by itself keeps within the limits, as posts of Apply do. The page comes
// without First and Recorded, which are set here.
//
// Where moves are refused, every refusal is given, with Index the move it is of; a move is judged as if those
// refused before it were left out. Nothing was written then. An error that is a *Refusal is one of the whole
// page; any other error says that the store is damaged.
func ApplyPage(s Store, at int64, p *Page) ([]*Refusal, error) {
	if err := checkPage(at, p); err != nil {
		return nil, err
	}
	if !s.SeriesFree(p.Series) {
		return nil, refuse(CodeIDReused, "",
			"transfers of series %x are recorded already; give a new request a new id", p.Series)
	}
	p.First, p.Recorded = s.Head()+1, at
	f := &filling{page: p, accounts: make([]filled, len(p.Accounts))}
	f.parts = make([]pagePart, 0, 2*len(p.Moves))
	for i, id := range p.Accounts {
		a, ok := s.Account(p.Book, id)
		f.accounts[i] = filled{now: a, before: a, known: ok}
	}
	for i := range p.Moves {
		f.move(i)
	}
	if len(f.refused) > 0 {
		return f.refused, nil
	}
	f.write(s)
	return nil, nil
}

// filling is a page being carried out.
type filling struct {
	page     *Page
	accounts []filled   // as page.Accounts
	parts    []pagePart // in order
	refused  []*Refusal
}

type filled struct {
	now, before Account
	known       bool
	lines       int
}

// pagePart is a line to be.
type pagePart struct {
	account int
	part    LinePart
}

func (f *filling) move(i int) {
	m := f.page.Moves[i]
	for _, side := range [2]struct {
		account int
		change  int64
	}{{m.From, -m.Amount}, {m.To, m.Amount}} {
		a := &f.accounts[side.account]
		if err := a.room(f.page, side.account, side.change); err != nil {
			err.Index = i
			f.refused = append(f.refused, err)
			return
		}
	}
	f.post(m.From, i, -m.Amount)
	f.post(m.To, i, m.Amount)
}

// room refuses a change that the account cannot take.
func (a *filled) room(p *Page, account int, change int64) *Refusal {
	if !a.known {
		return unknown(p.Book, p.Accounts[account])
	}
	return a.now.room(change)
}

func (f *filling) post(account, i int, change int64) {
	a := &f.accounts[account]
	a.now.Posted += change
	a.now.Lines++
	a.lines++
	f.parts = append(f.parts, pagePart{account, LinePart{Seq: f.page.First + uint64(i), Change: change}})
}

// write hands everything to the store, always in the same order.
func (f *filling) write(s Store) {
	room := make([]LinePart, len(f.parts))
	pages := make([][]LinePart, len(f.accounts))
	for i, a := range f.accounts {
		pages[i], room = room[:0:a.lines], room[a.lines:]
	}
	for _, p := range f.parts {
		pages[p.account] = append(pages[p.account], p.part)
	}
	for i, a := range f.accounts {
		if a.lines == 0 {
			continue
		}
		s.PutAccount(a.now)
		s.PutLines(LinePage{
			Book: f.page.Book, Account: a.now.ID, Parts: pages[i],
			Before: a.before.newest(),
		})
	}
	s.PutPage(*f.page)
	s.PutHead(f.page.Last())
}

// newest is the account's newest line, as far as a LinePage keeps it.
func (a *Account) newest() Line {
	return Line{N: a.Lines, Posted: a.Posted, HeldOut: a.HeldOut, HeldIn: a.HeldIn}
}

// checkPage checks all that can be known without looking at the books.
func checkPage(at int64, p *Page) error {
	if err := checkTime(at); err != nil {
		return err
	}
	if n := len(p.Moves); n == 0 || n > MaxMoves {
		r := refuse(CodeGroupTooLarge, "", "the page has %d moves; give 1 to %d", n, MaxMoves)
		r.Limit, r.Want = MaxMoves, int64(n)
		return r
	}
	if !goodName(p.Book, MaxNameBytes) {
		return badName("book", p.Book, MaxNameBytes)
	}
	if !p.Series.marked() {
		return refuse(CodeIDMissing, "", "the page's series is not marked as one; make it with NewSeries")
	}
	for i, id := range p.Accounts {
		if !goodName(id, MaxIDBytes) {
			return badName("account id", id, MaxIDBytes)
		}
		if i > 0 && id <= p.Accounts[i-1] {
			return refuse(CodeSameAccount, id, "%s is not in order, or there twice; sort the accounts", id)
		}
	}
	if len(p.Reasons) > 256 || slices.ContainsFunc(p.Reasons, badReason) {
		return refuse(CodeBadReason, "", "the page's reasons will not do; use at most %d letters, digits or"+
			" signs in each, without spaces", MaxReasonBytes)
	}
	for i := range p.Moves {
		if err := checkMove(p, p.Moves[i]); err != nil {
			return inGroup(i, err)
		}
	}
	return nil
}

func badReason(reason string) bool { return len(reason) > MaxReasonBytes || !printable(reason) }

func checkMove(p *Page, m Move) error {
	inList := func(at, n int) bool { return at >= 0 && at < n }
	n := len(p.Accounts)
	if !inList(m.From, n) || !inList(m.To, n) || !inList(m.Reason, len(p.Reasons)) {
		return refuse(CodeLegsMissing, "", "the move names what is not in the page's lists")
	}
	switch {
	case m.From == m.To:
		id := p.Accounts[m.From]
		return refuse(CodeSameAccount, id, "%s has two legs; make them one", id)
	case m.Amount == 0:
		id := p.Accounts[m.From]
		return refuse(CodeAmountZero, id, "the leg of %s is zero; leave it out", id)
	case m.Amount < 0 || m.Amount >= Unlimited:
		return refuse(CodeOverflow, "", "%d cannot be moved; move more than nothing, and less than %d",
			m.Amount, Unlimited)
	}
	return checkTime(m.Effective)
}
