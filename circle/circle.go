// Package circle joins the features of one circle's life into a machine. It is the one list of features.
package circle

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/circle/timeline"
)

// New returns the machine of a circle, its features in the order they build on each other.
func New() (*machine.Machine, error) {
	return machine.New(member.MayAct,
		member.Feature(),
		coin.Feature(),
		exchange.Feature(),
		replicas.Feature(),
		timeline.Feature(),
	)
}
