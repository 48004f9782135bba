// Package circle joins the features of one circle's life into a machine. It is the one list of features.
package circle

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/joining"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/moving"
	"github.com/carecircle/carecircle/circle/netting"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/circle/timeline"
)

// New returns the machine of a circle, its features in the order they build on each other.
func New() (*machine.Machine, error) { return With(exchange.Options{}) }

// With is New for the simulation, which looks at what happens when a rule between circles is off.
func With(o exchange.Options) (*machine.Machine, error) {
	return machine.New(member.MayAct,
		member.Feature(),
		coin.Feature(),
		replicas.Feature(),
		timeline.Feature(),
		exchange.Feature(o),
		hub.Feature(o),
		findable.Feature(),
		moving.Feature(o),
		netting.Feature(o),
		joining.Feature(o),
	)
}
