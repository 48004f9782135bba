package web_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/federation/charter"
)

func TestCirclePage(t *testing.T) {
	s := story(t)
	s.signedIn("Wendy").get("/circle").says(t, http.StatusOK,
		"Neighbours giving and getting support", "30 September 2027", "22 coins",
		"Enough to welcome 2 people",
		"54 hours were given to the group", "Hub garden 42 hours", "The hub garden",
		"Todmorden waits for us to agree",
		"They owe us 0.5 coins", "at most 40 coins either way",
		"Connected. Last heard from Blackshaw Head 10 days ago",
		"Cannot be reached. Letters wait here", "Ben gave 6 coins to the pool",
		"A member has been welcomed with 10 coins")
}

// task fills in one form of the coordinator's page and sends it twice: the second time must change nothing.
func (v *visitor) task(t *testing.T, name string, pairs ...string) answer {
	t.Helper()
	fields := with(v.form("/circle/coordinate", `value="`+name+`"`), pairs...)
	first := v.post("/circle/coordinate", fields)
	before := v.position()
	again := v.post("/circle/coordinate", fields)
	if first.status < http.StatusBadRequest && (again.location != first.location || v.position() != before) {
		t.Errorf("%s sent twice: %d to %s, then %d to %s", name, first.status, first.location, again.status,
			again.location)
	}
	return first
}

func TestCoordinate(t *testing.T) {
	s := story(t)
	v := s.signedIn("Farida")
	wendy := s.people["Wendy"]
	before := s.balance("Wendy")
	v.task(t, "work", "work-person", wendy, "work-coins", "2:15", "work-activity", "Phone circle",
		"work-place", "Old Town hall").leads(t, "/circle/coordinate?done=work")
	v.task(t, "work", "work-person", wendy, "work-coins", "1", "work-activity", "Phone circle",
		"work-on", s.Now().AddDate(0, 0, -2).Format("2006-01-02")).leads(t, "/circle/coordinate?done=work")
	if got := s.balance("Wendy"); got != before+195 {
		t.Errorf("Wendy has %d, had %d", got, before)
	}
	v.get("/circle/coordinate?done=work").says(t, http.StatusOK, "The work is recorded")
	v.task(t, "work", "work-person", wendy, "work-coins", "many", "work-activity", "Weaving").
		says(t, http.StatusUnprocessableEntity, "Please check these", "“many” is not an amount")
	v.task(t, "work", "work-person", wendy, "work-coins", "1").
		says(t, http.StatusUnprocessableEntity, "Fill in the activity")
	v.task(t, "work", "work-person", wendy, "work-coins", "11", "work-activity", "Weaving").
		says(t, http.StatusUnprocessableEntity, "the circle's limit is 12 coins")
	v.task(t, "work", "work-person", wendy, "work-coins", "1", "work-activity", "Weaving", "work-on",
		"2020-01-01").
		says(t, http.StatusUnprocessableEntity, "lies in the past year")

	v.task(t, "work", "work-coins", "1", "work-activity", "Weaving").
		says(t, http.StatusNotFound, "Choose who gave their time")
	v.task(t, "welcome").says(t, http.StatusNotFound, "Choose who is new")
	v.task(t, "freeze", "freeze-why", "phone lost").says(t, http.StatusNotFound, "Choose an account")
	v.task(t, "welcome", "welcome-person", wendy).leads(t, "/circle/coordinate?done=welcomed")
	v.task(t, "welcome", "welcome-person", s.people["Alice"]).says(t, http.StatusConflict,
		"had the welcome gift before")
	v.task(t, "place", "place-name", "St. Mary's Hall").leads(t, "/circle/coordinate?done=place")
	s.signedIn("Ben").get("/coins/give").says(t, http.StatusOK, "St. Mary's Hall")
	v.task(t, "place", "place-name", "").says(t, http.StatusUnprocessableEntity, "what the place is called")

	v.task(t, "freeze", "freeze-account", wendy, "freeze-do", "stop", "freeze-why", "phone lost").
		leads(t, "/circle/coordinate?done=stopped")
	if !view[coin.Mine](s.town, "Wendy", "coin.mine").Frozen {
		t.Error("the account is not stopped")
	}
	s.signedIn("Wendy").get("/coins").says(t, http.StatusOK, "Your account is stopped for now")
	v.task(t, "freeze", "freeze-account", wendy, "freeze-do", "open", "freeze-why", "phone found").
		leads(t, "/circle/coordinate?done=opened")
	v.task(t, "freeze", "freeze-account", wendy, "freeze-do", "open", "freeze-why", "").
		says(t, http.StatusUnprocessableEntity, "Fill in the reason")
	v.post("/circle/coordinate", with(v.form("/circle/coordinate", "work-coins"), "task", "rob-the-pool")).
		says(t, http.StatusBadRequest, "could not be read")
}

// TestOnlyCoordinators sends a coordinator's form without the hat: the circle refuses it.
func TestOnlyCoordinators(t *testing.T) {
	s := story(t)
	fields := with(s.signedIn("Farida").form("/circle/coordinate", `value="work"`), "work-person",
		s.people["Wendy"],
		"work-coins", "1", "work-activity", "Weaving")
	before := s.balance("Wendy")
	s.signedIn("Wendy").post("/circle/coordinate", fields).says(t, http.StatusForbidden, "hat")
	if s.balance("Wendy") != before {
		t.Error("work was recorded by somebody without the hat")
	}
	s.signedIn("Wendy").get("/circle/allies").says(t, http.StatusForbidden, "Secretary")
}

var shownLink = regexp.MustCompile(`id="invite-link">([^<]+)<`)

func TestInvite(t *testing.T) {
	s := story(t)
	v := s.signedIn("Farida")
	fields := with(v.form("/circle/coordinate", `value="invite"`), "invite-name", "Joan", "invite-hat",
		"giving-support")
	first := v.post("/circle/coordinate", fields)
	first.says(t, http.StatusOK, "The link for Joan")
	link := shownLink.FindStringSubmatch(first.body)
	if link == nil || !strings.HasPrefix(link[1], s.server.URL+"/enter/") {
		t.Fatalf("the link shown: %q", link)
	}
	before := s.position()
	again := v.post("/circle/coordinate", fields)
	if got := shownLink.FindStringSubmatch(again.body); got == nil || got[1] != link[1] ||
		s.position() != before {
		t.Errorf("the same form twice shows %q, then %q", link, got)
	}
	if next := v.form("/circle/coordinate", `value="invite"`); next.Get("secret") == fields.Get("secret") {
		t.Error("two forms have one secret")
	}
	joan := s.stranger()
	joan.post(strings.TrimPrefix(link[1], s.server.URL), nil).leads(t, "/welcome")
	joan.get("/circle").says(t, http.StatusOK, "Hello, Joan", "You joined our circle")

	wendy := v.post("/circle/coordinate", with(v.form("/circle/coordinate", `value="invite"`), "invite-name",
		"",
		"invite-person", s.people["Wendy"]))
	wendy.says(t, http.StatusOK, "The link for Wendy")
	link = shownLink.FindStringSubmatch(wendy.body)
	w := s.stranger()
	w.post(strings.TrimPrefix(link[1], s.server.URL), nil).leads(t, "/coins")
	w.get("/circle").says(t, http.StatusOK, "A sign-in link was made for you by Farida")

	bad := v.post("/circle/coordinate", with(v.form("/circle/coordinate", `value="invite"`), "invite-name",
		""))
	bad.says(t, http.StatusUnprocessableEntity, "Fill in the name")
	if shownLink.MatchString(bad.body) {
		t.Error("a link is shown for nobody")
	}
	v.post("/circle/coordinate", with(v.form("/circle/coordinate", `value="invite"`), "invite-name", "X",
		"secret", "short")).
		says(t, http.StatusBadRequest, "was not complete")
}

func TestAllies(t *testing.T) {
	s := story(t)
	v := s.signedIn("Farida")
	page := v.get("/circle/allies")
	page.says(t, http.StatusOK, charter.Text(s.card()), "They agreed to 20 coins either way", "1 June 2027")
	v.post("/circle/allies/meet", with(v.form("/circle/allies", `name="card"`), "card", "hello")).
		says(t, http.StatusUnprocessableEntity, "not a circle's card", "hello")
	v.post("/circle/allies/meet", with(v.form("/circle/allies", `name="card"`), "card",
		charter.Text(s.card()))).
		says(t, http.StatusUnprocessableEntity, "your own circle's card")
	mankinholes := newTown(t, "Mankinholes")
	fields := with(v.form("/circle/allies", `name="card"`), "card", charter.Text(mankinholes.card()))
	v.post("/circle/allies/meet", fields).leads(t, "/circle/allies?done=met")
	v.post("/circle/allies/meet", fields).leads(t, "/circle/allies?done=met")
	v.get("/circle/allies").says(t, http.StatusOK, "Mankinholes", "Known, not allied")

	consent := v.form("/circle/allies", string(mankinholes.id()))
	v.post("/circle/allies/consent", with(consent, "coins", "many", "review", "2027-06-01")).
		says(t, http.StatusUnprocessableEntity, "“many” is not an amount")
	v.post("/circle/allies/consent", with(consent, "coins", "30", "review", "soon")).
		says(t, http.StatusUnprocessableEntity, "day of review")
	consent = v.form("/circle/allies", string(mankinholes.id()))
	consent = with(consent, "coins", "30", "review", "2027-06-01", "decision", "HB-12")
	v.post("/circle/allies/consent", consent).leads(t, "/circle/allies?done=offered")
	v.post("/circle/allies/consent", consent).leads(t, "/circle/allies?done=offered")
	v.get("/circle").says(t, http.StatusOK, "Waiting for Mankinholes to agree")
	todmorden := ""
	for _, a := range view[exchange.Alliances](s.town, "Farida", "exchange.alliances").Alliances {
		if a.Name == "Todmorden" {
			todmorden = a.Circle
		}
	}
	v.post("/circle/allies/consent", with(v.form("/circle/allies", todmorden), "coins", "20", "review",
		"2027-06-01")).
		leads(t, "/circle/allies?done=allied")
}
