package circle_test

import (
	"strings"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

func joiningCases(s *stage) map[string]kindCase {
	now := s.hb.now
	long := strings.Repeat("n", member.MaxNameRunes+1)
	found := member.Found{
		Circle: string(s.hb.id), Key: []byte("key"), Name: "Hebden Bridge", Place: "Hebden Bridge",
		Aim: "care", Founder: machine.Text("", "Farida"),
	}
	noName, noKey, noAim, longName, noFounder := found, found, found, found, found
	noName.Name, noKey.Key, noAim.Aim, longName.Place = "", nil, "", long
	noFounder.Founder = machine.Private{}
	name := func(n string) machine.Private { return machine.Text("", n) }
	sealed := machine.Private{Scheme: 1, Data: []byte("Zoe")}
	invite := func(n machine.Private, link string, until int64, hats ...string) member.Invite {
		return member.Invite{Name: n, Link: secret(link), Until: until, Hats: hats}
	}
	noLink := invite(name("Zoe"), "new", now+day)
	noLink.Link = machine.Hash{}
	manyHats := strings.Fields(strings.Repeat("coordinator ", 13))
	return map[string]kindCase{
		"member.found": {empty: true, good: asked{by: "operator", body: found}, refused: []asked{
			{"operator", "", found, "already_founded"},
			{"Farida", "", found, "not_allowed"},
			{"operator", "", noName, "name_missing"},
			{"operator", "", noKey, "name_missing"},
			{"operator", "", noAim, "bad_text"},
			{"operator", "", longName, "bad_text"},
			{"operator", "", noFounder, "name_missing"},
		}},
		"member.invite": {
			good: asked{by: "Farida", body: invite(name("Zoe"), "new", now+day)},
			refused: []asked{
				{"Alice", "", invite(name("Zoe"), "new", now+day), "hat_missing"},
				{"Farida", "", invite(name(""), "new", now+day), "name_missing"},
				{"Farida", "", invite(name(" Zoe"), "new", now+day), "name_missing"},
				{"Farida", "", invite(name(long), "new", now+day), "bad_text"},
				{"Farida", "", invite(name("Z\noe"), "new", now+day), "bad_text"},
				{"Farida", "", invite(sealed, "new", now+day), "bad_text"},
				{"Farida", "", invite(name("Zoe"), "zed", now+day), "link_reused"},
				{"Farida", "", invite(name("Zoe"), "new", now), "bad_time"},
				{"Farida", "", invite(name("Zoe"), "new", now+31*day), "bad_time"},
				{"Farida", "", invite(name("Zoe"), "new", now+day, "wizard"), "hat_unknown"},
				{"Farida", "", invite(name("Zoe"), "new", now+day, manyHats...), "too_many"},
				{"Farida", "", noLink, "link_missing"},
			},
		},
		"member.choose": {
			good: asked{by: "Alice", body: member.Choose{Name: name("Alice B")}},
			refused: []asked{
				{"Alice", "", member.Choose{}, "name_missing"},
				{"Alice", "", member.Choose{Name: name(long)}, "bad_text"},
				{"Alice", "", member.Choose{Name: sealed}, "bad_text"},
				{"Ben", "Norah", member.Choose{Name: name("Queen Norah")}, "may_not_act"},
			},
		},
	}
}

func hatCases(s *stage) map[string]kindCase {
	p := s.hb.people
	coordinator := member.GrantHat{Person: p["Alice"], Hat: "coordinator"}
	secretary := member.EndHat{Person: p["Farida"], Hat: "secretary"}
	allow := func(person, advocate string) member.AllowActing {
		return member.AllowActing{Person: p[person], Advocate: p[advocate]}
	}
	longEvidence := allow("Alice", "Ben")
	longEvidence.Evidence = machine.Text("", strings.Repeat("e", 500))
	benForNorah := member.DisallowActing{Person: p["Norah"], Advocate: p["Ben"]}
	return map[string]kindCase{
		"member.hat-grant": {good: asked{by: "Farida", body: coordinator}, refused: []asked{
			{"Alice", "", coordinator, "hat_missing"},
			{"Farida", "", member.GrantHat{Person: p["Alice"], Hat: "wizard"}, "hat_unknown"},
			{"Farida", "", member.GrantHat{Person: "pnobody", Hat: "coordinator"}, "person_unknown"},
			{"Farida", "", member.GrantHat{Person: p["Alice"], Hat: "coordinator", Until: 1}, "bad_time"},
		}},
		"member.hat-end": {good: asked{by: "Farida", body: secretary}, refused: []asked{
			{"Alice", "", secretary, "hat_missing"},
			{"Farida", "", member.EndHat{Person: p["Alice"], Hat: "secretary"}, "hat_missing"},
			{"Farida", "", member.EndHat{Person: "pnobody", Hat: "secretary"}, "person_unknown"},
		}},
		"member.acting-allow": {good: asked{by: "Alice", body: allow("Alice", "Ben")}, refused: []asked{
			{"Alice", "", allow("Norah", "Alice"), "hat_missing"},
			{"Ben", "Norah", allow("Norah", "Dev"), "may_not_act"},
			{"Alice", "", allow("Alice", "Alice"), "acting_for_self"},
			{"Alice", "", allow("Alice", "nobody"), "person_unknown"},
			{"Alice", "", longEvidence, "bad_text"},
		}},
		"member.acting-end": {good: asked{by: "Ben", body: benForNorah}, refused: []asked{
			{"Alice", "", benForNorah, "hat_missing"},
			{"Alice", "", member.DisallowActing{Person: p["Alice"], Advocate: p["Ben"]}, "may_not_act"},
		}},
	}
}

func sessionCases(s *stage) map[string]kindCase {
	p, now := s.hb.people, s.hb.now
	link := func(person, label string, until int64) member.Link {
		return member.Link{Person: person, Link: secret(label), Until: until}
	}
	enter := func(label, session string, until int64) member.Enter {
		return member.Enter{Link: secret(label), Session: secret(session), Until: until}
	}
	signin := func(person, key, session string, until int64) member.OpenSession {
		return member.OpenSession{
			Person: p[person], Passkey: []byte(key), Session: secret(session), Until: until,
		}
	}
	return map[string]kindCase{
		"member.link": {good: asked{by: "Farida", body: link(p["Alice"], "new", now+day)}, refused: []asked{
			{"Alice", "", link(p["Alice"], "new", now+day), "hat_missing"},
			{"Farida", "", link("pnobody", "new", now+day), "person_unknown"},
			{"Farida", "", link(p["Alice"], "zed", now+day), "link_reused"},
			{"Farida", "", link(p["Alice"], "new", now-1), "bad_time"},
			{"Farida", "", link(p["Alice"], "new", 1<<62), "bad_time"},
			{"Farida", "", member.Link{Person: p["Alice"], Until: now + day}, "link_reused"},
		}},
		"member.enter": {good: asked{by: "node", body: enter("zed", "new", now+day)}, refused: []asked{
			{"operator", "", enter("zed", "new", now+day), "not_allowed"},
			{"Farida", "", enter("zed", "new", now+day), "not_allowed"},
			{"node", "", enter("none", "new", now+day), "link_unknown"},
			{"node", "", enter("zed", "alice's", now+day), "session_reused"},
			{"node", "", enter("zed", "new", now-1), "bad_time"},
			{"node", "", enter("zed", "new", now+31*day), "bad_time"},
			{"node", "", member.Enter{Link: secret("zed"), Until: now + day}, "session_reused"},
		}},
		"member.signin": {
			good: asked{by: "node", body: signin("Alice", "key", "new", now+day)},
			refused: []asked{
				{"Alice", "", signin("Alice", "key", "new", now+day), "not_allowed"},
				{"node", "", signin("Ben", "key", "new", now+day), "passkey_unknown"},
				{"node", "", signin("Alice", "other", "new", now+day), "passkey_unknown"},
				{"node", "", signin("Alice", "key", "alice's", now+day), "session_reused"},
				{"node", "", signin("Alice", "key", "new", now+31*day), "bad_time"},
			},
		},
		"member.signout": {
			good: asked{by: "Alice", body: member.CloseSession{Session: secret("alice's")}},
			refused: []asked{
				{"Ben", "", member.CloseSession{Session: secret("alice's")}, "not_allowed"},
			},
		},
	}
}

func passkeyCases(s *stage) map[string]kindCase {
	p := s.hb.people
	passkey := func(person, id, name string) member.AddPasskey {
		return member.AddPasskey{
			Person: person, ID: []byte(id), Name: text(name), Stored: text("stored"),
		}
	}
	big := passkey(p["Alice"], "new", "telephone")
	big.Stored = machine.Private{Data: make([]byte, 9<<10)}
	return map[string]kindCase{
		"member.passkey-add": {
			good: asked{by: "node", body: passkey(p["Alice"], "new", "telephone")},
			refused: []asked{
				{"Alice", "", passkey(p["Alice"], "new", "telephone"), "not_allowed"},
				{"node", "", passkey(p["Alice"], "key", "telephone"), "passkey_exists"},
				{"node", "", passkey("pnobody", "new", "telephone"), "person_unknown"},
				{"node", "", passkey(p["Alice"], "", "telephone"), "bad_passkey"},
				{"node", "", passkey(p["Alice"], "new", ""), "name_missing"},
				{"node", "", big, "bad_passkey"},
			},
		},
		"member.passkey-remove": {
			good: asked{by: "Alice", body: member.RemovePasskey{ID: []byte("key")}},
			refused: []asked{
				{"Ben", "", member.RemovePasskey{ID: []byte("key")}, "passkey_unknown"},
				{"Ben", "Norah", member.RemovePasskey{ID: []byte("key")}, "may_not_act"},
				{"node", "", member.RemovePasskey{ID: []byte("key")}, "not_a_member"},
			},
		},
	}
}

func coinRuleCases(s *stage) map[string]kindCase {
	p := s.hb.people
	policy := func(floor, welcome, day int64, review string) coin.SetPolicy {
		return coin.SetPolicy{
			FloorMinutes: floor, WelcomeMinutes: welcome, EarnDayMinutes: day, ReviewOn: review,
		}
	}
	longDecision := policy(-60, 0, 60, "2026-09-30")
	longDecision.Decision = strings.Repeat("d", 200)
	place := func(id, name string) coin.AddPlace { return coin.AddPlace{Place: id, Name: name} }
	freeze := func(account, why string) coin.Freeze {
		return coin.Freeze{Account: account, Frozen: true, Why: machine.Text("", why)}
	}
	return map[string]kindCase{
		"coin.policy": {good: asked{by: "Farida", body: policy(-60, 0, 60, "2026-09-30")}, refused: []asked{
			{"Alice", "", policy(-60, 0, 60, "2026-09-30"), "hat_missing"},
			{"Farida", "", policy(60, 0, 60, "2026-09-30"), "bad_policy"},
			{"Farida", "", policy(-1<<62, 0, 60, "2026-09-30"), "bad_policy"},
			{"Farida", "", policy(-60, -1, 60, "2026-09-30"), "bad_policy"},
			{"Farida", "", policy(-60, 1<<62, 60, "2026-09-30"), "bad_policy"},
			{"Farida", "", policy(-60, 0, 0, "2026-09-30"), "bad_policy"},
			{"Farida", "", policy(-60, 0, 1441, "2026-09-30"), "bad_policy"},
			{"Farida", "", policy(-60, 0, 60, "soon"), "bad_policy"},
			{"Farida", "", policy(-60, 0, 60, "2026\x0009-30"), "bad_policy"},
			{"Farida", "", policy(-60, 0, 60, "next month"), "bad_policy"},
			{"Farida", "", longDecision, "bad_text"},
		}},
		"coin.place": {good: asked{by: "Farida", body: place("repair-cafe", "Repair cafe")}, refused: []asked{
			{"Alice", "", place("repair-cafe", "Repair cafe"), "hat_missing"},
			{"Farida", "", place("hall", "Another hall"), "place_exists"},
			{"Farida", "", place("Repair cafe", "Repair cafe"), "bad_text"},
			{"Farida", "", place("", "Repair cafe"), "bad_text"},
			{"Farida", "", place(strings.Repeat("a", 41), "Repair cafe"), "bad_text"},
			{"Farida", "", place("repair-cafe", ""), "name_missing"},
			{"Farida", "", place("repair-cafe", strings.Repeat("a", 81)), "bad_text"},
		}},
		"coin.freeze": {good: asked{by: "Farida", body: freeze(p["Alice"], "to look")}, refused: []asked{
			{"Alice", "", freeze(p["Dev"], "to look"), "hat_missing"},
			{"Farida", "", freeze(p["Dev"], "to look"), "no_change"},
			{"Farida", "", freeze("pnobody", "to look"), "account_unknown"},
			{"Farida", "", freeze("a\x00b", "to look"), "account_unknown"},
			{"Farida", "", freeze(p["Alice"], " "), "name_missing"},
		}},
	}
}

func coinActCases(s *stage) map[string]kindCase {
	p := s.hb.people
	return map[string]kindCase{
		"coin.reverse": {
			good: asked{by: "Farida", body: coin.Reverse{Transfer: s.earned, Why: text("twice")}},
			refused: []asked{
				{"Alice", "", coin.Reverse{Transfer: s.earned, Why: text("twice")}, "hat_missing"},
				{"Farida", "", coin.Reverse{Transfer: s.abroad, Why: text("twice")}, "not_reversible"},
				{"Farida", "", coin.Reverse{Transfer: machine.ID{9}, Why: text("twice")}, "act_unknown"},
				{"Farida", "", coin.Reverse{Transfer: s.earned}, "name_missing"},
			},
		},
		"coin.import": {good: asked{by: "operator", body: s.hb.lines("issuance>Alice 60")}, refused: []asked{
			{"Farida", "", s.hb.lines("issuance>Alice 60"), "not_allowed"},
			{"operator", "", s.hb.lines("issuance>pnobody 60"), "import_refused"},
			{"operator", "", s.hb.lines("issuance>Alice 0"), "import_refused"},
			{"operator", "", s.hb.lines(), "bad_import"},
		}},
		"coin.welcome": {good: asked{by: "Farida", body: coin.Welcome{Person: p["Norah"]}}, refused: []asked{
			{"Norah", "", coin.Welcome{Person: p["Norah"]}, "hat_missing"},
			{"Farida", "", coin.Welcome{Person: "pnobody"}, "person_unknown"},
			{"Farida", "", coin.Welcome{Person: "place/hall"}, "person_unknown"},
			{"Farida", "", coin.Welcome{Person: "circle/" + string(s.bh.id)}, "person_unknown"},
			{"Farida", "", coin.Welcome{Person: p["Dev"]}, "account_frozen"},
			{"Farida", "", coin.Welcome{Person: p["Ben"]}, "already_welcomed"},
		}},
		"coin.autogift": {good: asked{by: "Alice", body: coin.AutoGift{To: "place/hall"}}, refused: []asked{
			{"Alice", "", coin.AutoGift{To: p["Ben"]}, "bad_autogift"},
			{"Alice", "", coin.AutoGift{To: "place/none"}, "place_unknown"},
			{"Alice", "", coin.AutoGift{To: "issuance"}, "person_unknown"},
			{"Alice", "", coin.AutoGift{To: "circle/" + string(s.bh.id)}, "person_unknown"},
			{"Alice", "", coin.AutoGift{To: "place/\x00"}, "place_unknown"},
		}},
	}
}

func earnCases(s *stage) map[string]kindCase {
	p, now := s.hb.people, s.hb.now
	earn := func(person string, minutes int64, activity string, on int64) coin.Earn {
		return coin.Earn{Person: person, Minutes: minutes, Activity: activity, On: on}
	}
	return map[string]kindCase{
		"coin.earn": {good: asked{by: "Farida", body: earn(p["Ben"], 60, "garden", 0)}, refused: []asked{
			{"Ben", "", earn(p["Ben"], 60, "garden", 0), "hat_missing"},
			{"Farida", "", earn("pnobody", 60, "garden", 0), "person_unknown"},
			{"Farida", "", earn("", 60, "garden", 0), "person_unknown"},
			{"Farida", "", earn("pool", 60, "garden", 0), "person_unknown"},
			{"Farida", "", earn("place/hall", 60, "garden", 0), "person_unknown"},
			{"Farida", "", earn("circle/"+string(s.bh.id), 60, "garden", 0), "person_unknown"},
			{"Farida", "", earn("issuance", 60, "garden", 0), "person_unknown"},
			{"Farida", "", earn("a\x00b", 60, "garden", 0), "person_unknown"},
			{"Farida", "", earn(p["Dev"], 60, "garden", 0), "account_frozen"},
			{"Farida", "", earn(p["Ben"], 0, "garden", 0), "bad_amount"},
			{"Farida", "", earn(p["Ben"], -60, "garden", 0), "bad_amount"},
			{"Farida", "", earn(p["Ben"], 1<<62, "garden", 0), "bad_amount"},
			{"Farida", "", earn(p["Ben"], 721, "garden", 0), "day_limit"},
			{"Farida", "", earn(p["Ben"], 60, "", 0), "name_missing"},
			{"Farida", "", earn(p["Ben"], 60, "\xe2\x80\xae\x07", 0), "bad_text"},
			{"Farida", "", earn(p["Ben"], 60, "garden", now+day), "bad_time"},
			{"Farida", "", earn(p["Ben"], 60, "garden", -1), "bad_time"},
		}},
	}
}

func payCases(s *stage) map[string]kindCase {
	p := s.hb.people
	pay := func(to string, minutes int64, activity, note string) coin.Pay {
		return coin.Pay{To: to, Minutes: minutes, Activity: activity, Note: machine.Text("", note)}
	}
	thanks := pay(p["Alice"], 60, "company", "thanks")
	long := strings.Repeat("n", coin.MaxNoteRunes+1)
	sealed := pay(p["Ben"], 60, "company", "")
	sealed.Note = machine.Private{Scheme: 3, Data: make([]byte, 100<<10)}
	return map[string]kindCase{
		"coin.pay": {good: asked{by: "Ben", behalf: "Norah", body: thanks}, refused: []asked{
			{"Alice", "", pay(p["Alice"], 60, "company", ""), "to_self"},
			{"Ben", "Norah", pay(p["Norah"], 60, "company", ""), "to_self"},
			{"Alice", "Norah", pay(p["Alice"], 60, "company", ""), "may_not_act"},
			{"Alice", "", pay("", 60, "company", ""), "to_nobody"},
			{"Alice", "", pay("pnobody", 60, "company", ""), "person_unknown"},
			{"Alice", "", pay("pool", 60, "company", ""), "person_unknown"},
			{"Alice", "", pay(p["Dev"], 60, "company", ""), "account_frozen"},
			{"Dev", "", pay(p["Alice"], 60, "company", ""), "account_frozen"},
			{"Norah", "", pay(p["Alice"], 301, "company", ""), "floor_passed"},
			{"Alice", "", pay(p["Ben"], 0, "company", ""), "bad_amount"},
			{"Alice", "", pay(p["Ben"], -1, "company", ""), "bad_amount"},
			{"Alice", "", pay(p["Ben"], 100_001, "company", ""), "bad_amount"},
			{"Alice", "", pay(p["Ben"], 60, "", ""), "name_missing"},
			{"Alice", "", pay(p["Ben"], 60, "company", long), "bad_text"},
			{"Alice", "", sealed, "bad_text"},
			{"operator", "", pay(p["Ben"], 60, "company", ""), "not_a_member"},
		}},
	}
}

func giveCases(s *stage) map[string]kindCase {
	p := s.hb.people
	give := func(to string, minutes int64, note string, picture []byte) coin.Give {
		g := coin.Give{To: to, Minutes: minutes, Note: machine.Text("", note)}
		if picture != nil {
			g.Picture = &coin.Picture{Data: picture, Alt: machine.Text("", "beans")}
		}
		return g
	}
	long := strings.Repeat("n", coin.MaxNoteRunes+1)
	jpeg, png := []byte("\xff\xd8\xff"), []byte("\x89PNG\r\n\x1a\n")
	huge := append(png, make([]byte, coin.MaxPictureBytes)...)
	fromBen := give("pool", 60, "", nil)
	fromBen.From = p["Ben"]
	longAlt := give("pool", 60, "", png)
	longAlt.Picture.Alt = machine.Text("", strings.Repeat("a", 1000))
	sealed := give("pool", 60, "", nil)
	sealed.Note = machine.Private{Scheme: 3, Data: make([]byte, 100<<10)}
	return map[string]kindCase{
		"coin.give": {good: asked{by: "Alice", body: give(p["Ben"], 60, "for you", jpeg)}, refused: []asked{
			{"Alice", "", give(p["Alice"], 60, "", nil), "to_self"},
			{"Alice", "", give("", 60, "", nil), "to_nobody"},
			{"Alice", "", give("pnobody", 60, "", nil), "person_unknown"},
			{"Alice", "", give("issuance", 60, "", nil), "person_unknown"},
			{"Alice", "", give("circle/"+string(s.bh.id), 60, "", nil), "person_unknown"},
			{"Alice", "", give("place/none", 60, "", nil), "place_unknown"},
			{"Alice", "", give("place/a\x00b", 60, "", nil), "bad_text"},
			{"Alice", "", give(p["Dev"], 60, "", nil), "account_frozen"},
			{"Alice", "", give("pool", 0, "", nil), "bad_amount"},
			{"Alice", "", give("pool", -60, "", nil), "bad_amount"},
			{"Alice", "", give("pool", 60, long, nil), "bad_text"},
			{"Alice", "", give("pool", 60, "", []byte("GIF89a")), "bad_picture"},
			{"Alice", "", give("pool", 60, "", []byte("<svg onload=alert(1)>")), "bad_picture"},
			{"Alice", "", give("pool", 60, "", []byte{}), "bad_picture"},
			{"Alice", "", give("pool", 60, "", huge), "too_large"},
			{"Alice", "", longAlt, "bad_text"},
			{"Alice", "", fromBen, "not_allowed"},
			{"Alice", "", sealed, "bad_text"},
			{"Norah", "", give("pool", 301, "", nil), "floor_passed"},
		}},
	}
}

func exchangeCases(s *stage) map[string]kindCase {
	bh, td := string(s.bh.id), string(s.td.id)
	pay := func(circle, code string, minutes int64) exchange.Pay {
		return exchange.Pay{Circle: circle, Code: code, Minutes: minutes}
	}
	longNote, sealed, longWait := pay(bh, "IRENE222", 60), pay(bh, "IRENE222", 60), pay(bh, "IRENE222", 60)
	longNote.Note = machine.Text("", strings.Repeat("n", exchange.MaxNoteRunes+1))
	sealed.Note = machine.Private{Scheme: 1, Data: []byte("x")}
	longWait.Patience = 91 * day
	ally := func(circle string, limit int64, review, decision string) exchange.Ally {
		return exchange.Ally{Circle: circle, LimitMinutes: limit, ReviewOn: review, Decision: decision}
	}
	mr := newTown(s.hb.t, "Mytholmroyd")
	card := mr.card()
	broken := append(card[:len(card)-1:len(card)-1], card[len(card)-1]^1)
	return map[string]kindCase{
		"exchange.meet": {good: asked{by: "Farida", body: exchange.Meet{Card: card}}, refused: []asked{
			{"Alice", "", exchange.Meet{Card: card}, "hat_missing"},
			{"node", "", exchange.Meet{Card: card}, "hat_missing"},
			{"Farida", "", exchange.Meet{Card: s.hb.card()}, "own_card"},
			{"Farida", "", exchange.Meet{Card: broken}, "bad_card"},
			{"Farida", "", exchange.Meet{}, "bad_card"},
			{"Farida", "", exchange.Meet{Card: make([]byte, 40<<10)}, "bad_card"},
		}},
		"exchange.ally": {
			good: asked{by: "Farida", body: ally(td, 600, "2026-09-30", "HB-9")},
			refused: []asked{
				{"Alice", "", ally(td, 600, "2026-09-30", ""), "hat_missing"},
				{"Farida", "", ally(bh, 1200, "2026-09-30", ""), "alliance_in_force"},
				{"Farida", "", ally("cnobody", 600, "2026-09-30", ""), "unknown_circle"},
				{"Farida", "", ally(td, 0, "2026-09-30", ""), "bad_amount"},
				{"Farida", "", ally(td, -600, "2026-09-30", ""), "bad_amount"},
				{"Farida", "", ally(td, 1<<62, "2026-09-30", ""), "bad_amount"},
				{"Farida", "", ally(td, 600, "in a while", ""), "bad_policy"},
				{"Farida", "", ally(td, 600, "2026-09-30", strings.Repeat("d", 201)), "bad_text"},
			},
		},
		"exchange.code": {good: asked{by: "Ben", body: exchange.SetCode{Code: "BENBEN22"}}, refused: []asked{
			{"Ben", "", exchange.SetCode{Code: "ALICE222"}, "code_taken"},
			{"Ben", "", exchange.SetCode{Code: "short"}, "bad_code"},
			{"Ben", "", exchange.SetCode{Code: "lowercas"}, "bad_code"},
			{"Ben", "Norah", exchange.SetCode{Code: "NORAH222"}, "may_not_act"},
		}},
		"exchange.pay": {good: asked{by: "Alice", body: pay(bh, "IRENE222", 60)}, refused: []asked{
			{"Alice", "", pay("cnobody", "IRENE222", 60), "unknown_circle"},
			{"Alice", "", pay(td, "IRENE222", 60), "no_alliance"},
			{"Alice", "", pay(bh, "", 60), "to_nobody"},
			{"Alice", "", pay(bh, "A\x07B", 60), "bad_code"},
			{"Alice", "", pay(bh, "IRENE222", 0), "bad_amount"},
			{"Alice", "", pay(bh, "IRENE222", -60), "bad_amount"},
			{"Alice", "", pay(bh, "IRENE222", 1<<62), "bad_amount"},
			{"Norah", "", pay(bh, "IRENE222", 301), "floor_passed"},
			{"Alice", "", pay(bh, "IRENE222", 600), "limit_reached"},
			{"Dev", "", pay(bh, "IRENE222", 60), "account_frozen"},
			{"Ben", "Norah", pay(bh, "IRENE222", 60), "may_not_act"},
			{"Alice", "", longNote, "bad_text"},
			{"Alice", "", sealed, "bad_text"},
			{"Alice", "", longWait, "bad_time"},
			{"operator", "", pay(bh, "IRENE222", 60), "not_a_member"},
		}},
		"exchange.expire": {good: asked{by: "node", body: exchange.Expire{}}, refused: []asked{
			{"operator", "", exchange.Expire{}, "not_allowed"},
			{"Farida", "", exchange.Expire{}, "not_allowed"},
		}},
	}
}

func letterCases(s *stage) map[string]kindCase {
	peer, todmorden := machine.PeerActor(string(s.bh.id)), machine.PeerActor(string(s.td.id))
	stranger := machine.PeerActor(string(newTown(s.hb.t, "Mytholmroyd").id))
	session := exchange.Session{Nx: courier.Nonce{7}, Ny: courier.Nonce{8}}
	batch := func(nx, ny courier.Nonce, records []letter.Signed) exchange.Receive {
		return exchange.Receive{Nx: nx, Ny: ny, Records: records}
	}
	held := s.records(nil)
	forged := s.records(nil)
	forged[0].Sig = append([]byte{}, forged[0].Sig...)
	forged[0].Sig[0] ^= 1
	in := s.session
	return map[string]kindCase{
		"exchange.session": {good: asked{by: peer, body: session}, refused: []asked{
			{stranger, "", session, "unknown_circle"},
			{"Farida", "", session, "not_allowed"},
			{"node", "", session, "not_allowed"},
			{peer + "x", "", session, "unknown_circle"},
		}},
		"exchange.receive": {good: asked{by: peer, body: batch(in, in, held)}, refused: []asked{
			{stranger, "", batch(in, in, held), "unknown_circle"},
			{"Farida", "", batch(in, in, held), "not_allowed"},
			{peer, "", batch(courier.Nonce{9}, in, held), "session_void"},
			{peer, "", batch(in, courier.Nonce{9}, held), "session_void"},
			{peer, "", batch(courier.Nonce{}, courier.Nonce{}, held), "session_void"},
			{todmorden, "", batch(courier.Nonce{}, courier.Nonce{}, held), "session_void"},
			{todmorden, "", batch(in, in, held), "session_void"},
			{peer, "", batch(in, in, nil), "malformed"},
			{peer, "", batch(in, in, make([]letter.Signed, courier.MaxBatchRecords+1)), "malformed"},
			{peer, "", batch(in, in, forged), "malformed"},
			{peer, "", batch(in, in, make([]letter.Signed, 1)), "malformed"},
			{peer, "", batch(in, in, s.records(func(r *letter.Record) { r.Kind = 99 })), "unknown_kind"},
			{peer, "", batch(in, in, s.records(func(r *letter.Record) { r.Version = 2 })), "unknown_kind"},
			{peer, "", batch(in, in, s.records(func(r *letter.Record) { r.From = s.td.id })), "malformed"},
			{peer, "", batch(in, in, s.records(func(r *letter.Record) { r.To = s.td.id })), "malformed"},
		}},
	}
}
