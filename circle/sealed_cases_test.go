package circle_test

import (
	"github.com/carecircle/carecircle/circle/member"
)

// sealedCases are the kinds by which what is personal is kept, read and erased.
func sealedCases(s *stage) map[string]kindCase {
	p := s.hb.people
	vault := func(version uint32) member.SetVault {
		return member.SetVault{Version: version, Mark: secret("vault")}
	}
	badKey := vault(1)
	badKey.Keys = []member.Key{{Person: "", Version: 1, Wrapped: []byte("x")}}
	manyKeys := vault(1)
	manyKeys.Keys = make([]member.Key, member.MaxKeysAtOnce+1)
	key := func(person string) member.AddKey {
		return member.AddKey{Person: person, Version: 1, Wrapped: []byte("wrapped")}
	}
	look := func(person, reason string) member.Looked {
		return member.Looked{
			Person: person, By: p["Farida"], View: "member.file", Reason: text(reason),
		}
	}
	erase := func(name, how, on string) member.Erase {
		return member.Erase{Person: p[name], How: how, On: on}
	}
	nobody := member.Erase{Person: "pnobody", How: "phone", On: "2026-01-02"}
	return map[string]kindCase{
		"member.vault": {good: asked{by: "node", body: vault(2)}, refused: []asked{
			{"operator", "", vault(2), "not_allowed"},
			{"node", "", vault(3), "vault_stale"},
			{"node", "", member.SetVault{Version: 1, Mark: secret("another")}, "vault_stale"},
			{"node", "", badKey, "bad_key"},
			{"node", "", manyKeys, "too_many"},
		}},
		"member.key": {good: asked{by: "node", body: key(p["Alice"])}, refused: []asked{
			{"Alice", "", key(p["Alice"]), "not_allowed"},
			{"node", "", key(""), "bad_key"},
			{"node", "", key("p\x00"), "bad_key"},
			{"node", "", member.AddKey{Person: "p", Version: 2, Wrapped: []byte("x")}, "vault_stale"},
			{"node", "", key(p["Gone"]), "person_left"},
		}},
		"member.looked": {good: asked{by: "node", body: look(p["Alice"], "she asked me")}, refused: []asked{
			{"Farida", "", look(p["Alice"], "she asked me"), "not_allowed"},
			{"node", "", look(p["Alice"], " "), "reason_missing"},
			{"node", "", look("pnobody", "why not"), "person_unknown"},
		}},
		"member.erase": {good: asked{by: "Alice", body: erase("Alice", "", "")}, refused: []asked{
			{"Alice", "", erase("Ben", "phone", "2026-01-02"), "not_allowed"},
			{"Ben", "Norah", erase("Norah", "phone", "2026-01-02"), "may_not_act"},
			{"Farida", "", erase("Alice", "", ""), "reason_missing"},
			{"Farida", "", erase("Alice", "a whim", "2026-01-02"), "bad_text"},
			{"Farida", "", erase("Alice", "phone", "yesterday"), "bad_time"},
			{"operator", "", erase("Gone", "phone", "2026-01-02"), "person_left"},
			{"operator", "", nobody, "person_unknown"},
		}},
	}
}
