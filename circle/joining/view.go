package joining

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/letter"
)

// Federation is how this circle stands in its federation, and who else is in it.
type Federation struct {
	State   string   `json:"state"` // none, asking, refused, in, left or hub
	Hub     string   `json:"hub"`   // its id; empty: there is none
	HubName string   `json:"hubName"`
	Why     string   `json:"why,omitempty"` // the hub's words where it refused
	Seq     uint64   `json:"seq"`           // of the charter; 0: none was seen
	At      int64    `json:"at"`            // of the charter
	Circles []Circle `json:"circles"`
}

// Circle is one of the federation.
type Circle struct {
	Circle string `json:"circle"`
	Name   string `json:"name"`
	Place  string `json:"place"`
	Status string `json:"status"` // founding, giving, paused or closed
	Us     bool   `json:"us"`
	Hub    bool   `json:"hub"`
}

// Invitations are those of the hub.
type Invitations struct {
	Invitations []Invited `json:"invitations"`
}

// Invited is one of them.
type Invited struct {
	For      string `json:"for"`
	Decision string `json:"decision,omitempty"`
	Until    int64  `json:"until"`
	State    string `json:"state"` // open, used or over
	Name     string `json:"name,omitempty"`
}

func views() []machine.View {
	return []machine.View{
		machine.Ask("joining.federation", "The circles of the federation, and how this one stands in it.",
			member.Reading, federation),
		machine.Ask("joining.invitations", "The hub's invitations to circles.", member.Secretary, invited),
	}
}

func federation(rd machine.Read, _ machine.None) (Federation, error) {
	us, _ := member.TheCircle(rd)
	out := Federation{State: "none", Circles: []Circle{}}
	if at, named := exchange.Hub(rd); named {
		out.Hub, out.HubName = string(at), exchange.NameOf(rd, string(at))
	}
	if hub.Opened(rd) {
		out.State, out.Hub, out.HubName = "hub", us.ID, us.Name
	}
	c, ok := held(rd)
	if ok {
		out.Seq, out.At = c.Seq, c.At
	}
	a, asking := asks.Get(rd, only)
	if out.Hub == "" && asking {
		out.Hub, out.HubName = string(a.Hub), exchange.NameOf(rd, string(a.Hub))
	}
	e, in := c.Entry(letter.CircleID(us.ID))
	switch {
	case out.State == "hub":
	case asking && len(a.Secret) > 0:
		out.State = "asking"
	case in && e.Status == charter.Closed:
		out.State = "left"
	case in:
		out.State = "in"
	case asking && a.Why != "":
		out.State, out.Why = "refused", a.Why
	case asking:
		out.State = "asking" // taken in, and the charter is on its way
	}
	for _, e := range c.Circles {
		shown := Circle{
			Circle: string(e.Circle), Status: e.Status.String(), Us: string(e.Circle) == us.ID,
			Hub: e.Circle == c.Hub,
		}
		if shown.Us {
			shown.Name, shown.Place = us.Name, us.Place
		} else {
			shown.Name, shown.Place = exchange.NameOf(rd, shown.Circle), exchange.PlaceOf(rd, shown.Circle)
		}
		out.Circles = append(out.Circles, shown)
	}
	return out, nil
}

func invited(rd machine.Read, _ machine.None) (Invitations, error) {
	out := Invitations{Invitations: []Invited{}}
	for _, i := range invitations.All(rd, nil, nil) {
		shown := Invited{For: i.For, Decision: i.Decision, Until: i.Until, State: "open"}
		switch {
		case i.Circle != "":
			shown.State, shown.Name = "used", exchange.NameOf(rd, i.Circle)
		case rd.Now >= i.Until:
			shown.State = "over"
		}
		out.Invitations = append(out.Invitations, shown)
	}
	return out, nil
}
