package sim

import (
	"encoding/binary"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
)

// dice is all the luck there is: splitmix64, the same everywhere for the same seed.
type dice struct{ state uint64 }

func (d *dice) next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	return mix(d.state)
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// between returns a number from low to high, both included.
func (d *dice) between(low, high int64) int64 {
	return low + int64(d.next()%uint64(high-low+1))
}

// below returns a number from 0 to n-1.
func (d *dice) below(n int) int { return int(d.next() % uint64(n)) }

// chance is true so many times in a thousand.
func (d *dice) chance(permille int) bool { return d.next()%1000 < uint64(permille) }

func (d *dice) id() (id machine.ID) {
	binary.BigEndian.PutUint64(id[:8], d.next())
	binary.BigEndian.PutUint64(id[8:], d.next())
	return id
}

func (d *dice) nonce() courier.Nonce { return courier.Nonce(d.id()) }

func (d *dice) hash() (h machine.Hash) {
	a, b := d.id(), d.id()
	copy(h[:16], a[:])
	copy(h[16:], b[:])
	return h
}

func pick[T any](d *dice, from []T) T { return from[d.below(len(from))] }
