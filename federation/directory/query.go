package directory

// Limits of a search.
const (
	MaxHits       = 100     // answers at once
	MaxQueryWords = 10      // that are looked at
	MaxWithin     = 200_000 // metres
)

// Query is what is looked for; all of it must be met. What is empty does not matter.
type Query struct {
	Text      string // words, or how they begin
	Kinds     Tags
	Skills    Tags
	Languages Tags
	Near      *Point
	Within    int // metres from Near, in a straight line
	From, To  int // half hours of the week, To not included: time in all of them
	MaxRate   int32
	OnlyOpen  bool
	Now       int64 // Unix milliseconds
	Skip      int   // of the answers
	Most      int   // answers, at most MaxHits; 0: 20
}

// Filled returns the query with what is in use in place of nothing, within the limits.
func (q Query) Filled() Query {
	if q.Most <= 0 {
		q.Most = 20
	}
	q.Most, q.Skip = min(q.Most, MaxHits), max(q.Skip, 0)
	q.From, q.To = max(q.From, 0), min(q.To, Slots)
	q.Within = min(q.Within, MaxWithin)
	return q
}

// Found is one answer.
type Found struct {
	Card   Card `json:"card"`
	Metres int  `json:"metres"` // from where was asked for; -1: no place on the card, or none asked for
}
