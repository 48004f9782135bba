package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/moving"
)

// TestMove asks another circle, stays, asks again, and goes when it says yes.
func TestMove(t *testing.T) {
	s := story(t)
	bh := s.links[0].Circle
	wendy := s.signedIn("Wendy")
	wendy.get("/me").says(t, http.StatusOK, "Move to another circle")
	ask := func() answer {
		form := wendy.form("/me/move", `name="words"`)
		return wendy.post("/me/move", with(form, "circle", bh, "name", "Wendy", "words", "Kitty lives there"))
	}
	wendy.post("/me/move", with(wendy.form("/me/move", `name="words"`), "circle", "")).
		says(t, http.StatusUnprocessableEntity, "Choose the circle")
	wendy.post("/me/move", with(wendy.form("/me/move", `name="words"`), "circle", bh, "name", "")).
		says(t, http.StatusUnprocessableEntity, "Fill in the name")
	ask().leads(t, "/me/move?done=move-asked")
	wendy.get("/me/move").says(t, http.StatusOK, "has been asked")
	wendy.post("/me/move/cancel", wendy.form("/me/move", "rather stay")).leads(t, "/me/move?done=move-off")
	ask().leads(t, "/me/move?done=move-asked")
	s.must(machine.PeerActor(bh), "moving.answered", moving.Answered{
		ID: s.moveOf(t), Yes: true, Code: "WENDY333", Origin: "https://bh.example",
	})
	wendy.get("/me/move").says(t, http.StatusOK, "you are welcome there", "All your coins go with you")
	going := wendy.form("/me/move", "now")
	gone := wendy.post("/me/move/go", going)
	gone.says(t, http.StatusOK, "Goodbye", "https://bh.example/enter/"+going.Get("secret"))
	wendy.post("/me/move/go", going).says(t, http.StatusOK, "https://bh.example/enter/"+going.Get("secret"))
	wendy.get("/me/move").says(t, http.StatusOK, "You are on your way to", "still have to go")
	late := wendy.form("/me", `name="shownName"`) // its id was not used yet
	wendy.post("/me/move/cancel", late).says(t, http.StatusUnprocessableEntity, "You have left already")
}

// moveOf is the id of the one move there is.
func (w *town) moveOf(t *testing.T) string {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := moving.Outgoings(w.kv, func(p machine.Private) ([]byte, bool) { return p.Data, true })
	if len(out) != 1 {
		t.Fatalf("%+v", out)
	}
	return out[0].ID
}

// TestArrivals takes somebody of another circle in, and another one not.
func TestArrivals(t *testing.T) {
	s := story(t)
	peer := machine.PeerActor(s.links[0].Circle)
	for id, name := range map[string]string{"ab": "Rhys", "cd": "Una"} {
		s.must(peer, "moving.asked", moving.Asked{
			ID: strings.Repeat(id, 16), Name: machine.Text("", name),
			Words: machine.Text("", "Hello, says "+name),
		})
	}
	s.signedIn("Wendy").get("/circle/arrivals").says(t, http.StatusForbidden)
	farida := s.signedIn("Farida")
	farida.get("/circle/arrivals").says(t, http.StatusOK, "Rhys", "Hello, says Una", "Waits for your answer")
	form := with(farida.form("/circle/arrivals", strings.Repeat("ab", 16)), "name", "", "answer", "yes")
	farida.post("/circle/arrivals", form).says(t, http.StatusUnprocessableEntity, "Fill in the name")
	form = with(farida.form("/circle/arrivals", strings.Repeat("ab", 16)), "name", "Rhys", "answer", "yes")
	farida.post("/circle/arrivals", form).leads(t, "/circle/arrivals?done=decided")
	farida.post("/circle/arrivals", form).leads(t, "/circle/arrivals?done=decided")
	form = with(farida.form("/circle/arrivals", strings.Repeat("cd", 16)), "answer", "no")
	farida.post("/circle/arrivals", form).leads(t, "/circle/arrivals?done=decided")
	farida.get("/circle/arrivals").says(t, http.StatusOK, "Expected", "Not taken")
}
