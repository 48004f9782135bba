package coin

import (
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// NextFeature is Feature with a kind that programs before it do not know, one that comes with rules version
// 2, and a form of coin.earn from that version on: work counts double.
func NextFeature() machine.Feature {
	f := Feature()
	f.Rules = append(f.Rules,
		machine.Do("coin.new", "Known to the next program only.", member.Coordinator, newPlace),
		machine.Do("coin.later", "Comes with rules version 2.", member.Coordinator, newPlace).From(2),
		machine.Do("coin.earn", "Record work, by the next rules.", member.Coordinator,
			func(tx *machine.Tx, b Earn) (Moved, error) {
				b.Minutes *= 2
				return earn(tx, b)
			}).From(2),
	)
	return f
}

func newPlace(tx *machine.Tx, _ machine.None) (machine.None, error) {
	return addPlace(tx, AddPlace{Place: "next", Name: "Place of the next program"})
}
