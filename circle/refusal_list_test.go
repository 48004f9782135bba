package circle_test

import (
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
)

// refusalCases is one good command of every kind, and what the kind refuses.
func refusalCases(t *testing.T, s *stage) map[string]kindCase {
	all := map[string]kindCase{
		"rules.activate": {
			good: asked{by: "operator", body: machine.Activate{Version: 1}},
			refused: []asked{
				{"operator", "", machine.Activate{Version: 0}, "rules_not_newer"},
				{"Farida", "", machine.Activate{Version: 1}, "not_allowed"},
			},
		},
	}
	for _, part := range []map[string]kindCase{
		joiningCases(s), hatCases(s), sessionCases(s), passkeyCases(s), coinRuleCases(s), coinActCases(s),
		earnCases(s), payCases(s), giveCases(s), exchangeCases(s), letterCases(s), replicaCases(s),
		timelineCases(s), sealedCases(s), lifeCases(t, s), hubCases(t, s), findableCases(t, s),
		contactCases(t, s), movingCases(t, s), movingPeerCases(s),
		nettingCases(t, s), nettingHubCases(t, s), charterCases(t, s), inviteCases(s),
	} {
		for kind, c := range part {
			all[kind] = c
		}
	}
	return all
}
