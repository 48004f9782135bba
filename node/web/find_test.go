package web_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/directory"
)

// find stands in for the node's search: among the cards of this circle alone, by words and kinds.
func (w *town) find(
	_ context.Context, _ machine.Caller, q directory.Query,
) ([]directory.Found, int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []directory.Found
	all := findable.Cards(w.kv, 0, func(p machine.Private) ([]byte, bool) { return p.Data, !p.IsSealed() })
	for _, c := range all {
		lacks := slices.ContainsFunc(q.Kinds, func(k string) bool { return !slices.Contains(c.Kinds, k) })
		text := strings.ToLower(c.Name + " " + c.Words)
		hours := q.To == 0 || c.Hours.Has(q.From) && c.Hours.Has(q.To-1)
		if !c.Gone && !lacks && hours && strings.Contains(text, strings.ToLower(q.Text)) {
			f := directory.Found{Card: c, Metres: -1}
			if q.Near != nil && c.Sector != "" {
				f.Metres = 4900
			}
			found = append(found, f)
		}
	}
	return found, len(found), nil
}

// shown is one of the circle's cards, in order of when they were made.
func (w *town) shown(i int) directory.Card {
	w.mu.Lock()
	defer w.mu.Unlock()
	return findable.Cards(w.kv, 0, func(p machine.Private) ([]byte, bool) { return p.Data, true })[i]
}

// TestContact asks somebody of the own circle to be in touch, and has them answer.
func TestContact(t *testing.T) {
	s := story(t)
	s.must("Alice", "findable.choose", findable.Choose{Card: findable.Choice{Name: "Alice"}})
	alice, ben := s.signedIn("Alice"), s.signedIn("Ben")
	if own := alice.get("/find"); strings.Contains(own.text(), "Ask to be in touch") {
		t.Error("one may ask oneself")
	}
	found := ben.get("/find")
	found.says(t, http.StatusOK, "Ask to be in touch")
	_, link, _ := strings.Cut(found.body, `href="/find/ask?`)
	link, _, _ = strings.Cut(link, `"`)
	link = "/find/ask?" + strings.ReplaceAll(link, "&amp;", "&")
	ben.get(link).says(t, http.StatusOK, "Ask Alice to be in touch", "This is Ben from Hebden Bridge.")
	ben.post("/find/ask", with(ben.form(link, `name="words"`), "words", " ")).
		says(t, http.StatusUnprocessableEntity, "Write a few words")
	ask := with(ben.form(link, `name="words"`), "words", "May I borrow your ladder?")
	ben.post("/find/ask", ask).leads(t, "/find/contacts?done=asked")
	ben.post("/find/ask", ask).leads(t, "/find/contacts?done=asked") // sent twice
	ben.get("/find/contacts").says(t, http.StatusOK, "May I borrow your ladder?", "Waits for their answer")
	alice.get("/find/contacts").says(t, http.StatusOK, "May I borrow your ladder?", "Waits for your answer")
	answer := func() url.Values { return alice.form("/find/contacts", `value="yes"`) }
	alice.post("/find/contacts", with(answer(), "words", strings.Repeat("a", 501), "answer", "yes")).
		says(t, http.StatusUnprocessableEntity, "at most 500 letters")
	alice.post("/find/contacts", with(answer(), "words", "It is in the shed", "answer", "yes")).
		leads(t, "/find/contacts?done=answered")
	ben.get("/find/contacts").says(t, http.StatusOK, "They said yes", "It is in the shed")
}

// TestShown makes a card, finds it, changes it and takes it back.
func TestShown(t *testing.T) {
	s := story(t)
	s.must("operator", "findable.sectors", findable.Sectors{Sectors: []findable.Sector{
		{Sector: "HX7 8", Lat: 5374000, Lng: -201000},
	}})
	alice, ben := s.signedIn("Alice"), s.signedIn("Ben")
	alice.get("/me/shown").says(t, http.StatusOK, "Nobody outside sees anything of you", "Make my card",
		"HX7 8", "Sunday")
	form := alice.form("/me/shown", `name="words"`)
	for name, values := range map[string][]string{
		"name": {"Alice from the mill"}, "words": {"Tea & a chat"}, "kind": {"companionship", "shopping"},
		"skills": {"Dementia, sewing"}, "languages": {"English"}, "sector": {"HX7 8"},
		"time": {"1-1", "1-2", "1-3", "5-3", "9-9"}, "rate": {"x"}, "open": {"yes"},
	} {
		form[name] = values
	}
	wrong := alice.post("/me/shown", form)
	wrong.says(t, http.StatusUnprocessableEntity, "Write the rate in pounds", "Tea & a chat")
	form.Set("id", hidden(t, wrong.body, `name="words"`).Get("id"))
	form.Set("rate", "19.5")
	alice.post("/me/shown", form).leads(t, "/me/shown?done=shown")
	alice.get("/me/shown").says(t, http.StatusOK, "Alice from the mill", "Hebden Bridge, our circle, HX7 8",
		"Companionship, Shopping", "Dementia, Sewing", "Monday all day, Friday evening", "£19.50 an hour")
	ben.get("/find").says(t, http.StatusOK, "One person is found.", "Alice from the mill")
	ben.get("/find?q=chat&kind=shopping&from=HX7+8&within=5&day=1&part=2").says(t, http.StatusOK,
		"One person is found.", "about 3 miles away", "HX7 8")
	ben.get("/find?day=2&part=2").says(t, http.StatusOK, "Nobody is found.", "Try fewer words")
	ben.get("/find?kind=driving").says(t, http.StatusOK, "Nobody is found.")

	alice.post("/me/shown/back", alice.form("/me/shown", "Take my card back")).
		leads(t, "/me/shown?done=taken-back")
	alice.get("/me/shown").says(t, http.StatusOK, "Cards I took back", "Blackshaw Head",
		"Has not answered yet")
	ben.get("/find").says(t, http.StatusOK, "Nobody is found.", "choose what others see of you")
}
