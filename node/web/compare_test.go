package web_test

import (
	"net/http"
	"testing"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/federation/payment"
)

// compared is the page about the circle that ours owes.
func compared(t *testing.T) string {
	return "/circle/compare?circle=" + string(newTown(t, "Blackshaw Head").id())
}

// TestCompare shows how our books of another circle compare with its own, in each way they can.
func TestCompare(t *testing.T) {
	s := owing(t)
	farida, wendy := s.signedIn("Farida"), s.signedIn("Wendy")
	farida.get("/circle/allies").says(t, http.StatusOK, "Compare our books with those of Blackshaw Head")
	wendy.get(compared(t)).says(t, http.StatusForbidden, `takes the hat "secretary"`)
	farida.get(compared(t)).
		says(t, http.StatusServiceUnavailable, "The other circle does not answer just now")
	farida.get("/circle/compare?circle=c1").says(t, http.StatusNotFound, "does not know")
	line := exchange.Compared{
		Payment: payment.TID{1}, Here: "made", There: "absent", Minutes: 60, At: s.Now().UnixMilli(),
	}
	for _, c := range []struct {
		got  exchange.Comparison
		says []string
	}{
		{
			exchange.Comparison{Name: "Birch", Agree: true, Same: 3, Owes: 60, OwesThere: -60},
			[]string{"The books agree", "3 payments are the same", "we owe 1 coin", "it is just the same"},
		},
		{
			exchange.Comparison{
				Name: "Birch", Same: 1, Owes: 60, Differ: []exchange.Compared{line}, More: 4,
			},
			[]string{
				"The books differ", "1 payment is the same", "Payments that differ", "to Birch",
				"1 coin, paid",
				"nothing of it", "By their books nobody owes anything", "And 4 more",
			},
		},
		{
			exchange.Comparison{
				Name: "Birch", Agree: true, OnTheWay: []exchange.Compared{{
					Incoming: true, Here: "absent", There: "waiting", MinutesThere: 30,
				}}, OwesThere: 30,
			},
			[]string{
				"On their way", "from Birch", "Not in our books", "0.5 coins, not answered yet",
				"they owe us",
			},
		},
		{
			exchange.Comparison{Name: "Birch", Owes: 60, OwesThere: -30},
			[]string{"the balances are not", "By their books we owe 0.5 coins"},
		},
	} {
		s.compared = &c.got
		farida.get(compared(t)).says(t, http.StatusOK, c.says...)
	}
}

// TestCompareLooked looks over the comparison, on every size of screen.
func TestCompareLooked(t *testing.T) {
	s := owing(t)
	line := exchange.Compared{Payment: payment.TID{1}, Here: "made", There: "absent", Minutes: 60, At: 1}
	s.compared = &exchange.Comparison{
		Name: "Blackshaw Head", Same: 124, Owes: 60, Differ: []exchange.Compared{line},
		OnTheWay: []exchange.Compared{{Incoming: true, Here: "absent", There: "waiting", MinutesThere: 30}},
	}
	farida := s.tab(t)
	farida.signIn(t, "Farida")
	for _, size := range [][2]int64{{390, 844}, {1280, 900}, {320, 640}} {
		farida.size(t, size[0], size[1])
		farida.open(t, compared(t))
		farida.check(t, "/circle/compare", size[0])
	}
}
