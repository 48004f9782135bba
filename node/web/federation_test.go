package web_test

import (
	"crypto/sha256"
	"net/http"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/joining"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
)

// hubOf is a circle that is a federation's hub, with one other circle in it and an invitation for a third.
func hubOf(t testing.TB) (*town, *town, string) {
	t.Helper()
	co, bh := newTown(t, "Co-Circle"), newTown(t, "Blackshaw Head")
	co.found("Hana")
	co.join("Wendy", true)
	bh.found("Orla")
	co.must("operator", "hub.open", hub.Open{})
	co.must("node", "joining.card", joining.Card{Card: co.card()})
	var text string
	for i, w := range []*town{bh, nil} {
		secret := make([]byte, charter.SecretBytes)
		secret[0] = byte(i + 1)
		co.must("operator", "joining.invite", joining.Invite{
			Secret: sha256.Sum256(secret), For: "Todmorden", Days: 14,
		})
		var err error
		if text, err = (charter.Invitation{Card: co.card(), Secret: secret}).Text(); err != nil {
			t.Fatal(err)
		}
		if w != nil {
			by := machine.PeerActor(string(w.id()))
			co.must(by, "joining.ask", joining.Ask{Card: w.card(), Secret: secret})
		}
	}
	return co, bh, text
}

// TestFederationOfHub has the Secretary of a hub invite a circle and say that another pauses.
func TestFederationOfHub(t *testing.T) {
	co, bh, _ := hubOf(t)
	s := serve(co)
	hana, wendy := s.signedIn("Hana"), s.signedIn("Wendy")
	wendy.get("/circle/federation").says(t, http.StatusOK, "Our circle is the hub", "Blackshaw Head",
		"Has just begun", "Co-Circle (our circle)")
	if body := wendy.get("/circle/federation").body; strings.Contains(body, "<form class=\"cc-form\"") {
		t.Error("a member without the hat has forms")
	}
	form := hana.form("/circle/federation", `name="invited"`)
	hana.post("/circle/federation/invite", with(form, "invited", "")).
		says(t, http.StatusUnprocessableEntity, "Say which circle the invitation is for")
	form = with(hana.form("/circle/federation", `name="invited"`), "invited", "Midgley")
	first := hana.post("/circle/federation/invite", form)
	first.says(t, http.StatusOK, "The invitation for Midgley", "carecircle-invitation-v1:", "Midgley, until")
	again := hana.post("/circle/federation/invite", form)
	one, two := invitationIn(t, first.body), invitationIn(t, again.body)
	if one != two {
		t.Error("sent twice, the form gives two invitations")
	}
	i, card, err := charter.ParseInvitation(one)
	if err != nil || card.Circle != co.id() {
		t.Fatal(err)
	}
	md := newTown(t, "Midgley")
	md.found("Mo")
	co.must(machine.PeerActor(string(md.id())), "joining.ask", joining.Ask{Card: md.card(), Secret: i.Secret})
	hana.get("/circle/federation").says(t, http.StatusOK, "Midgley")

	form = hana.form("/circle/federation", `value="`+string(bh.id())+`"`)
	hana.post("/circle/federation/set", with(form, "status", "paused")).
		leads(t, "/circle/federation?done=circle-set")
	hana.get("/circle/federation").says(t, http.StatusOK, "Pauses")
	hana.get("/circle").says(t, http.StatusOK, "The circle Midgley joined our federation",
		"The circle Blackshaw Head pauses", "Our federation, and who else is in it")
	form = hana.form("/circle/federation", `value="`+string(bh.id())+`"`)
	hana.post("/circle/federation/set", with(form, "status", "asleep")).
		says(t, http.StatusUnprocessableEntity, "founding, giving, paused or closed")
}

func invitationIn(t *testing.T, body string) string {
	t.Helper()
	_, rest, found := strings.Cut(body, "carecircle-invitation-v1:")
	text, _, ended := strings.Cut(rest, "<")
	if !found || !ended {
		t.Fatal("there is no invitation")
	}
	return "carecircle-invitation-v1:" + strings.TrimSpace(text)
}

// TestFederationJoined has the Secretary of a circle ask to join, and read the answers.
func TestFederationJoined(t *testing.T) {
	co, bh, text := hubOf(t)
	hb := newTown(t, "Hebden Bridge")
	hb.found("Farida")
	s := serve(hb)
	farida := s.signedIn("Farida")
	farida.get("/circle/federation").says(t, http.StatusOK, "in no federation yet", "Ask to join")
	form := farida.form("/circle/federation", `name="invitation"`)
	card := farida.form("/circle/allies", `name="card"`)
	farida.post("/circle/allies/meet", with(card, "card", text)).
		says(t, http.StatusUnprocessableEntity, "This is an invitation to a federation. Paste it on the page")
	farida.post("/circle/federation/join", with(form, "invitation", "hello")).
		says(t, http.StatusUnprocessableEntity, "This is not an invitation", "hello")
	form = with(farida.form("/circle/federation", `name="invitation"`), "invitation", text)
	farida.post("/circle/federation/join", form).leads(t, "/circle/federation?done=federation-asked")
	farida.get("/circle/federation").says(t, http.StatusOK, "Co-Circle is asked to take our circle in")
	hb.must("node", "joining.answered", joining.Answered{Why: "It was used already."})
	farida.get("/circle/federation").says(t, http.StatusOK,
		"Co-Circle did not take our circle in: It was used already.", "Ask to join")

	form = with(farida.form("/circle/federation", `name="invitation"`), "invitation", text)
	farida.post("/circle/federation/join", form).leads(t, "/circle/federation?done=federation-asked")
	i, _, err := charter.ParseInvitation(text)
	if err != nil {
		t.Fatal(err)
	}
	co.must(machine.PeerActor(string(hb.id())), "joining.ask", joining.Ask{Card: hb.card(), Secret: i.Secret})
	hb.must("node", "joining.answered", joining.Answered{})
	ask, ok := joining.AskFor(hb.kv, co.id(), hb.card(), 1)
	if !ok {
		t.Fatal("there is nothing to ask")
	}
	news, err := joining.Reply(co.kv, co.key, ask)
	if err != nil {
		t.Fatal(err)
	}
	hb.must(machine.PeerActor(string(co.id())), "joining.take", joining.Take{
		Charter: news.Charter, Cards: news.Cards, Through: news.Through,
	})
	farida.get("/circle").says(t, http.StatusOK, "Our circle joined the federation of Co-Circle")
	farida.get("/circle/federation").says(t, http.StatusOK, "in the federation of Co-Circle",
		"Blackshaw Head", "Co-Circle (the hub)", "Hebden Bridge (our circle)")
	if _, known := exchange.KeyOf(hb.kv, bh.id()); !known {
		t.Error("the other circle is not known")
	}
}

// TestFederationLooked looks over both pages of a federation, on every size of screen.
func TestFederationLooked(t *testing.T) {
	co, _, _ := hubOf(t)
	hb := newTown(t, "Hebden Bridge")
	hb.found("Farida")
	for who, w := range map[string]*town{"Hana": co, "Farida": hb} {
		tab := serve(w).tab(t)
		tab.signIn(t, who)
		for _, size := range [][2]int64{{390, 844}, {1280, 900}, {320, 640}} {
			tab.size(t, size[0], size[1])
			tab.open(t, "/circle/federation")
			tab.check(t, "/circle/federation of "+who, size[0])
		}
	}
}
