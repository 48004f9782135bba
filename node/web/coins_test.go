package web_test

import (
	"bytes"
	"errors"
	"image/jpeg"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/member"
)

func TestGive(t *testing.T) {
	s := story(t)
	v := s.signedIn("Wendy")
	before, alice := s.balance("Wendy"), s.balance("Alice")
	fields := with(v.form("/coins/give?to="+s.people["Alice"], "picture"), "to", s.people["Alice"], "coins",
		"1,5",
		"note", "One line,\r\nand another.", "alt", "Beans")
	kind, body := multi(t, fields, photo(2000, 1000))
	sent := body.String()
	first := v.send(http.MethodPost, "/coins/give", kind, strings.NewReader(sent))
	first.leads(t, "/coins/done?gift=")
	again := v.send(http.MethodPost, "/coins/give", kind, strings.NewReader(sent))
	if again.location != first.location {
		t.Errorf("the same form twice leads to %s, then %s", first.location, again.location)
	}
	if s.balance("Wendy") != before-90 || s.balance("Alice") != alice+90 {
		t.Errorf("after the same form twice Wendy has %d, had %d", s.balance("Wendy"), before)
	}
	done := v.get(first.location)
	done.says(t, http.StatusOK, "You gave 1.5 coins to Alice", "1 hour and 30 minutes",
		"One line, and another.")
	address := regexp.MustCompile(`/pictures/[0-9a-f-]+`).FindString(done.body)
	picture := s.signedIn("Alice").get(address)
	config, err := jpeg.DecodeConfig(strings.NewReader(picture.body))
	if err != nil || config.Width != 1000 || config.Height != 500 {
		t.Errorf("the picture: %+v, %v", config, err)
	}
	if h := picture.header; h.Get("Content-Type") != "image/jpeg" || !strings.Contains(
		h.Get("Content-Security-Policy"), "sandbox") || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the picture's headers: %v", h)
	}
	s.signedIn("Alice").get("/coins").says(t, http.StatusOK, "Wendy gave me coins", "+1.5", "One line")
	v.get("/pictures/nonsense").says(t, http.StatusNotFound, "no picture here")
}

func TestGiveMistakes(t *testing.T) {
	s := story(t)
	v := s.signedIn("Wendy")
	before := s.position()
	to := s.people["Alice"]
	for _, c := range []struct{ to, coins, want string }{
		{"", "1", "Say who the coins are for"},
		{to, "", "Say how many coins"},
		{
			to, "lots",
			"“lots” is not an amount",
		},
		{to, "0", "more than nothing"},
		{to, "0.33", "not a whole number of minutes"},
		{
			to, "-2",
			"not an amount",
		},
		{to, "99999", "more than one act can be"},
	} {
		fields := with(v.form("/coins/give", "picture"), "to", c.to, "coins", c.coins, "note",
			"kept <b>words</b>")
		got := v.post("/coins/give", fields)
		got.says(t, http.StatusUnprocessableEntity, "Please check these", c.want, "kept <b>words</b>")
		if c.coins != "" && !strings.Contains(got.body, `value="`+c.coins+`"`) {
			t.Errorf("the amount %q typed is gone", c.coins)
		}
		if c.to != "" && !strings.Contains(got.body, `value="`+to+`" selected`) {
			t.Errorf("the person chosen is gone")
		}
	}
	kind, body := multi(t, with(v.form("/coins/give", "picture"), "to", to, "coins", "1"), []byte("GIF89a"))
	v.send(http.MethodPost, "/coins/give", kind, body).says(t, http.StatusUnprocessableEntity,
		"cannot be read")
	if s.position() != before {
		t.Error("a mistake became a command")
	}
	kind, body = multi(t, url.Values{}, bytes.Repeat([]byte("x"), 13<<20))
	v.send(http.MethodPost, "/coins/give", kind, body).
		says(t, http.StatusRequestEntityTooLarge, "larger than 12 MB")
}

// TestRefused sends what the circle refuses, mends it on the page that comes back, and sends it again.
func TestRefused(t *testing.T) {
	s := story(t)
	v := s.signedIn("Alice")
	before := s.balance("Alice")
	fields := with(v.form("/coins/pay", "kind"), "to", s.people["Ben"], "kind", "a lift", "coins", "40")
	got := v.post("/coins/pay", fields)
	got.says(t, http.StatusUnprocessableEntity, "below the floor", "The circle decided this: HB-3")
	again := hidden(t, got.body, "kind")
	if again.Get("id") == fields.Get("id") {
		t.Fatal("after a refusal the form has the id that stands for the refusal")
	}
	v.post("/coins/pay", with(again, "to", s.people["Ben"], "kind", "a lift", "coins", "1")).leads(t,
		"/coins/done?gift=")
	changed := v.post("/coins/pay", with(again, "coins", "2"))
	changed.says(t, http.StatusConflict, "sent once already")
	if s.balance("Alice") != before-60 {
		t.Errorf("Alice has %d, had %d", s.balance("Alice"), before)
	}
	v.post("/coins/pay", with(v.form("/coins/pay", "kind"), "coins", "1")).
		says(t, http.StatusUnprocessableEntity, "Say who helped you", "what kind of help")
	v.post("/coins/pay", with(fields, "id", "nonsense", "coins", "1")).
		says(t, http.StatusUnprocessableEntity, "was not complete")
	v.post("/coins/pay", with(v.form("/coins/pay", "kind"), "to", "pnobody", "kind", "a lift", "coins", "1")).
		says(t, http.StatusNotFound, "nobody in this circle")
}

// TestUnanswered has the circle out of reach: the form comes back with its id, and counts once in the end.
func TestUnanswered(t *testing.T) {
	s := story(t)
	v := s.signedIn("Alice")
	before := s.balance("Alice")
	fields := with(v.form("/coins/pay", "kind"), "to", s.people["Ben"], "kind", "a lift", "coins", "1",
		"note", "kept")
	s.broken = errors.New("no leader: 10.0.0.7:7001 does not answer")
	got := v.post("/coins/pay", fields)
	s.broken = nil
	got.says(t, http.StatusServiceUnavailable, "could not answer just now", "counts once", "kept")
	if strings.Contains(got.body, "10.0.0.7") || !strings.Contains(s.logged.String(), "10.0.0.7") {
		t.Error("the cause belongs into the log, and there only")
	}
	if id := hidden(t, got.body, "kind").Get("id"); id != fields.Get("id") {
		t.Fatal("the form has another id: sent again, it would count twice")
	}
	v.post("/coins/pay", fields).leads(t, "/coins/done")
	v.post("/coins/pay", fields).leads(t, "/coins/done")
	if s.balance("Alice") != before-60 {
		t.Errorf("Alice has %d, had %d", s.balance("Alice"), before)
	}
	fields = v.form("/coins", "/coins/code")
	s.broken = errors.New("no leader: 10.0.0.7:7001 does not answer")
	got = v.post("/coins/code", fields)
	s.broken = nil
	got.says(t, http.StatusServiceUnavailable, "Nothing is lost", "tell them this reference")
	if strings.Contains(got.body, "10.0.0.7") {
		t.Error("the error page shows the cause")
	}
}

func TestAbroad(t *testing.T) {
	s := story(t)
	v := s.signedIn("Alice")
	v.get("/coins/abroad").says(t, http.StatusOK, "Blackshaw Head", "Waiting for Blackshaw Head to answer",
		"Came back",
		"Nobody there has this code. You have your coins back.",
		"Blackshaw Head said yes, and the coins arrived.")
	before := view[coin.Mine](s.town, "Alice", "coin.mine").Held
	circle := view[exchange.Alliances](s.town, "Alice", "exchange.alliances").Alliances
	allied := ""
	for _, a := range circle {
		if a.Name == "Blackshaw Head" {
			allied = a.Circle
		}
	}
	fields := with(v.form("/coins/abroad", "code"), "circle", allied, "code", "irene-222", "coins", "0:30")
	first, again := v.post("/coins/abroad", fields), v.post("/coins/abroad", fields)
	first.leads(t, "/coins/done?payment=")
	if held := view[coin.Mine](s.town, "Alice", "coin.mine").Held; held != before+30 ||
		again.location != first.location {
		t.Errorf("held %d, before %d; led to %s and %s", held, before, first.location, again.location)
	}
	v.get(first.location).says(t, http.StatusOK, "You sent 0.5 coins to someone in Blackshaw Head",
		"are set aside")
	v.get("/coins").says(t, http.StatusOK, "On their way", "Waiting for Blackshaw Head")
	v.post("/coins/abroad", v.form("/coins/abroad", "code")).
		says(t, http.StatusUnprocessableEntity, "Choose a circle", "Fill in the code", "Say how many coins")
	v.post("/coins/abroad", with(v.form("/coins/abroad", "code"), "circle", "cnobody", "code", "X", "coins",
		"1")).
		says(t, http.StatusNotFound, "does not know")
	s.signedIn("Wendy").get(first.location).leads(t, "/coins") // somebody else's
}

func TestCodeAndAutoGift(t *testing.T) {
	s := story(t)
	v := s.signedIn("Wendy")
	fields := v.form("/coins", "/coins/code")
	v.post("/coins/code", fields).leads(t, "/coins?done=code")
	code := view[exchange.Code](s.town, "Wendy", "exchange.code").Code
	if !regexp.MustCompile(`^[A-HJ-NP-Z2-9]{8}$`).MatchString(code) {
		t.Errorf("the code %q can be misread", code)
	}
	v.post("/coins/code", fields).leads(t, "/coins?done=code")
	v.get("/coins?done=code").says(t, http.StatusOK, code, "You have a new code")
	v.post("/coins/code", v.form("/coins", "/coins/code")).leads(t, "/coins?done=code")
	if next := view[exchange.Code](s.town, "Wendy", "exchange.code").Code; next == code {
		t.Error("a new code is the old one")
	}
	v.post("/coins/autogift", with(v.form("/coins", "/coins/autogift"), "to", "place/hub-garden")).
		leads(t, "/coins?done=autogift")
	v.get("/coins").says(t, http.StatusOK, "goes to The hub garden by itself")
	v.post("/coins/autogift", with(v.form("/coins", "/coins/autogift"), "to", s.people["Alice"])).
		says(t, http.StatusUnprocessableEntity, "That did not work", "go to the pool or a place")
}

func TestStatement(t *testing.T) {
	s := story(t)
	v := s.signedIn("Ben") // more lines than one page holds
	page := v.get("/coins")
	older := regexp.MustCompile(`hx-get="(/coins/statement\?before=[0-9]+)"`).FindStringSubmatch(page.body)
	if older == nil {
		t.Fatal("there are no older lines to ask for")
	}
	rest := v.get(older[1])
	rest.says(t, http.StatusOK, "What came and went", "Time I gave to the group",
		"Hub garden, The hub garden")
	if strings.Contains(rest.body, "hx-get") {
		t.Error("the last page has older lines")
	}
	lines := strings.Count(page.body, `id="line-`) + strings.Count(rest.body, `id="line-`)
	if lines != 27 {
		t.Errorf("%d lines in all", lines)
	}
	v.get("/coins/statement?before=bad").says(t, http.StatusOK, "What came and went")
}

func TestJourney(t *testing.T) {
	s := story(t)
	v := s.signedIn("Alice")
	v.get("/coins/journey").says(t, http.StatusOK, "coins from hub garden",
		"Ben gave this time to the whole group",
		"They are here today")
	v.get("/coins/journey?lot=nonsense").says(t, http.StatusOK, "They are here today")
	lines := v.get("/coins")
	lot := regexp.MustCompile(`/coins/journey\?lot=[0-9a-f-]+`).FindString(lines.body)
	v.get(lot).says(t, http.StatusOK, "Their way began")
	s.signedIn("Dev").get("/coins/journey").says(t, http.StatusOK, "You have no coins yet")
}

// TestNobodyIsNamedAgainstTheirWill reads every page as members who are no coordinators: those who chose not
// to be seen are named nowhere.
func TestNobodyIsNamedAgainstTheirWill(t *testing.T) {
	s := story(t)
	for _, reader := range []string{"Wendy", "Alice", "Ben"} {
		v := s.signedIn(reader)
		for _, path := range append(memberPages, "/circle/coordinate", "/circle/allies", "/nowhere") {
			text := v.get(path).text()
			if strings.Contains(text, "Norah") || strings.Contains(text, "Kathleen") ||
				(reader != "Alice" && strings.Contains(text, "Dev")) { // Alice acts for Dev
				t.Errorf("%s sees somebody who chose not to be seen on %s:\n%s", reader, path, text)
			}
		}
	}
	s.signedIn("Wendy").get("/circle").says(t, http.StatusOK, "2 more people belong to the circle", "Alice",
		"Ben")
	s.signedIn("Farida").get("/circle").says(t, http.StatusOK, "Norah", "Kathleen", "Invited, not here yet")
	s.signedIn("Norah").get("/circle/coordinate").says(t, http.StatusForbidden, "hat of a coordinator")
}

func TestActingForOthers(t *testing.T) {
	s := story(t)
	s.earn("Dev", 120, "office", "")
	v := s.signedIn("Alice")
	forDev := "?for=" + s.people["Dev"]
	page := v.get("/coins" + forDev)
	page.says(t, http.StatusOK, "You are looking at: Dev", "2 hours of support", "Time I gave to the group")
	for _, link := range regexp.MustCompile(`(?:href|action)="(/[^"]*)"`).FindAllStringSubmatch(page.body,
		-1) {
		if !strings.Contains(link[1], "for="+s.people["Dev"]) && !strings.HasPrefix(link[1], "/assets/") {
			t.Errorf("the link %s forgets whom it is for", link[1])
		}
	}
	if strings.Contains(page.body, "My code") {
		t.Error("leave for coins shows the code for other circles as well")
	}
	before := s.balance("Alice")
	got := v.post("/coins/pay"+forDev, with(v.form("/coins/pay"+forDev, "kind"), "to", s.people["Ben"],
		"kind", "a lift",
		"coins", "1"))
	got.leads(t, "/coins/done?gift=")
	if !strings.HasSuffix(got.location, "&for="+s.people["Dev"]) {
		t.Errorf("sent on to %s, which forgets whom it is for", got.location)
	}
	v.get(got.location).says(t, http.StatusOK, "You thanked Ben with 1 coin", "You now have 1 coin")
	if s.balance("Dev") != 60 || s.balance("Alice") != before {
		t.Errorf("Dev has %d, Alice %d, had %d", s.balance("Dev"), s.balance("Alice"), before)
	}
	kind, body := multi(t, with(v.form("/coins/give"+forDev, "picture"), "to", "pool", "coins", "1"),
		photo(10, 10))
	v.send(http.MethodPost, "/coins/give"+forDev, kind, body).leads(t, "/coins/done?gift=")
	if s.balance("Dev") != 0 {
		t.Errorf("Dev has %d after a gift with a picture", s.balance("Dev"))
	}
	refused := v.get("/me" + forDev)
	refused.says(t, http.StatusForbidden, "may not act for this person")
	if strings.Contains(refused.body, "for=") {
		t.Error("the way on leads back to the person they may not act for")
	}
	s.signedIn("Wendy").get("/coins"+forDev).says(t, http.StatusForbidden, "may not act for this person")
	v.get("/coins").says(t, http.StatusOK, "your own coins")
	if me := view[member.Me](s.town, "Dev", "member.me"); me.Name != "Dev" {
		t.Errorf("Dev became %+v", me)
	}
}
