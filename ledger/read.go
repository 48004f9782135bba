package ledger

import "sort"

// BalanceAt is an account's line as it was once entry seq was recorded; false if the account was not yet
// open, or never was.
func BalanceAt(s Store, book, account string, seq uint64) (Line, bool) {
	a, ok := s.Account(book, account)
	if !ok {
		return Line{}, false
	}
	later := sort.Search(int(a.Lines), func(i int) bool {
		line, ok := s.Line(book, account, uint64(i)+1)
		return ok && line.Seq > seq
	})
	if later == 0 {
		return Line{}, false
	}
	return s.Line(book, account, uint64(later))
}

// Statement walks an account's lines with their entries, oldest first from line from (0 and 1 are the
// oldest), until yield answers false or limit lines are out; a limit outside 1 to MaxPage is MaxPage. The
// answer is the line to go on from, 0 when there is none or yield had enough.
func Statement(s Store, book, account string, from uint64, limit int, yield func(Line, Entry) bool) uint64 {
	a, _ := s.Account(book, account)
	n := max(from, 1)
	for range pageSize(limit) {
		if n > a.Lines || !yieldLine(s, book, account, n, yield) {
			return 0
		}
		n++
	}
	if n > a.Lines {
		return 0
	}
	return n
}

// StatementBack is Statement newest first, from line from (0 is the newest) down to line 1.
func StatementBack(
	s Store, book, account string, from uint64, limit int, yield func(Line, Entry) bool,
) uint64 {
	a, _ := s.Account(book, account)
	n := a.Lines
	if from > 0 {
		n = min(n, from)
	}
	for range pageSize(limit) {
		if n == 0 || !yieldLine(s, book, account, n, yield) {
			return 0
		}
		n--
	}
	return n
}

func pageSize(limit int) int {
	if limit < 1 || limit > MaxPage {
		return MaxPage
	}
	return limit
}

func yieldLine(s Store, book, account string, n uint64, yield func(Line, Entry) bool) bool {
	line, ok := s.Line(book, account, n)
	if !ok {
		return false
	}
	e, ok := s.Entry(line.Seq)
	return ok && yield(line, e)
}
