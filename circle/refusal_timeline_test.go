package circle_test

import (
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/timeline"
)

func timelineCases(s *stage) map[string]kindCase {
	at := machine.ReadMeta(s.hb.kv)
	good := timeline.Open{
		Epoch: 1, FromPosition: at.Position, FromHead: at.Head, Backup: machine.ID{7}, Why: "the disk broke",
		At: s.hb.now, Host: hostKey(77),
	}
	change := func(fn func(*timeline.Open)) timeline.Open {
		b := good
		fn(&b)
		return b
	}
	return map[string]kindCase{"timeline.open": {
		good: asked{by: "node", body: good},
		refused: []asked{
			{"Farida", "", good, "not_allowed"},
			{"Alice", "", good, "not_allowed"},
			{"operator", "", good, "not_allowed"},
			{"node", "", change(func(b *timeline.Open) { b.Host = hostKey(7)[1:] }), "bad_host"},
			{
				"operator", "", change(func(b *timeline.Open) { b.Epoch, b.Host = 0, nil }), "epoch_not_next",
			},
			{
				"node", "", change(func(b *timeline.Open) { b.Epoch = timeline.MaxEpochs + 1 }),
				"epoch_not_next",
			},
			{"node", "", change(func(b *timeline.Open) { b.FromPosition-- }), "not_at_fork"},
			{"node", "", change(func(b *timeline.Open) { b.FromPosition++ }), "not_at_fork"},
			{"node", "", change(func(b *timeline.Open) { b.FromHead[0]++ }), "not_at_fork"},
			{"node", "", change(func(b *timeline.Open) { b.At = 0 }), "bad_time"},
			{"node", "", change(func(b *timeline.Open) { b.Why = "two\nlines" }), "bad_text"},
			{"node", "", change(func(b *timeline.Open) {
				b.Why = strings.Repeat("w", timeline.MaxWhyRunes+1)
			}), "bad_text"},
		},
	}}
}
