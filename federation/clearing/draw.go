package clearing

import "strconv"

// Draw makes a round for measuring: so many circles and obligations, the same for the same seed. A few
// circles owe and are owed far more often than others, and few amounts are large.
func Draw(seed uint64, circles, obligations int) []Obligation {
	next := func() uint64 { // splitmix64
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	pick := func() int {
		n := int(next() % uint64(circles))
		if next()%4 == 0 { // one of the busy ones
			n %= max(circles/50, 2)
		}
		return n
	}
	all := make([]Obligation, 0, obligations)
	for len(all) < obligations {
		from, to := pick(), pick()
		if from == to {
			continue
		}
		minutes := int64(1 + next()%600)
		for next()%4 == 0 && minutes < 1<<30 {
			minutes *= 4
		}
		all = append(all, Obligation{
			Debtor: "c" + strconv.Itoa(from), Creditor: "c" + strconv.Itoa(to), Minutes: minutes,
		})
	}
	return all
}
