package web_test

import (
	"net/http"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// TestKept shows a person all that is kept about them, and who looked.
func TestKept(t *testing.T) {
	s := story(t)
	s.must("node", "member.looked", member.Looked{
		Person: s.people["Wendy"], By: s.people["Ben"], View: "member.file",
		Reason: machine.Text("", "she asked me to look"),
	})
	v := s.signedIn("Wendy")
	v.get("/me").says(t, http.StatusOK, "See everything that is kept")
	v.get("/me/kept").says(t, http.StatusOK, "Who looked, and why", "Ben", "she asked me to look",
		"Everything that is kept", "Wendy", "Sign-in")
	s.signedIn("Ben").get("/me/kept").says(t, http.StatusOK, "Nobody has read")
}

// TestLeave erases a person only when they say that they are sure, once.
func TestLeave(t *testing.T) {
	s := story(t)
	v := s.signedIn("Wendy")
	fields := v.form("/me/erase", "sure")
	v.post("/me/erase", fields).says(t, http.StatusUnprocessableEntity, "Please check these",
		"Nothing has been erased")
	if view[member.Me](s.town, "Wendy", "member.me").Name != "Wendy" {
		t.Fatal("erased without being sure")
	}
	v.post("/me/erase", with(fields, "sure", "yes")).says(t, http.StatusOK, "You are erased")
	v.get("/me").leads(t, "/signin")
	got := s.signedIn("Ben").get("/circle")
	got.says(t, http.StatusOK, "Someone left our circle")
}
