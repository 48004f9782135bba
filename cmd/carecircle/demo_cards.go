package main

import (
	"context"

	"github.com/carecircle/carecircle/circle/findable"
)

// demoSectors are the postcode sectors around the demo's circles, with about where their middles are.
var demoSectors = []findable.Sector{
	{Sector: "HX7 5", Lat: 5373000, Lng: -198400},
	{Sector: "HX7 6", Lat: 5374600, Lng: -200300},
	{Sector: "HX7 7", Lat: 5376200, Lng: -206700},
	{Sector: "HX7 8", Lat: 5374100, Lng: -201300},
	{Sector: "OL14 5", Lat: 5371900, Lng: -210100},
	{Sector: "OL14 8", Lat: 5371300, Lng: -208700},
}

type demoCard struct {
	who  string
	card findable.Choice
}

// times makes the demo's people have time on some days, from one full hour to another.
func times(from, to int, days ...int) []findable.Time {
	var out []findable.Time
	for _, d := range days {
		out = append(out, findable.Time{Day: d, From: from * 60, To: to * 60})
	}
	return out
}

var hebdenCards = []demoCard{
	{"Wendy", findable.Choice{
		Name: "Wendy", Words: "A cup of tea, a chat and a walk along the canal.", Open: true,
		Kinds: []string{"companionship", "dog walking"}, Languages: []string{"English"}, Sector: "HX7 8",
		Times: times(12, 17, 2, 4),
	}},
	{"Alice", findable.Choice{
		Name: "Alice", Kinds: []string{"companionship"}, Languages: []string{"English"}, Sector: "HX7 6",
		Skills: []string{"reading aloud", "dementia"}, Times: times(8, 12, 1, 3, 5), Open: true,
	}},
	{"Dev", findable.Choice{
		Name: "Dev", Words: "I drive to the hospital and wait with you.", Kinds: []string{"driving"},
		Languages: []string{"English", "Gujarati"}, Sector: "HX7 8", Open: true,
		Times: times(8, 17, 1, 2, 3),
	}},
	{"Yvonne", findable.Choice{
		Name: "Yvonne", Words: "I have been there myself.", Kinds: []string{"peer support"},
		Skills: []string{"mental health"}, Languages: []string{"English"}, Sector: "HX7 5", Open: true,
	}},
	{"Farida", findable.Choice{
		Name: "Farida", Kinds: []string{"personal care", "cooking"},
		Skills:    []string{"dementia", "medicines"},
		Languages: []string{"English", "Urdu", "Punjabi"}, Sector: "HX7 8", RatePence: 2250,
		Times: times(8, 12, 1, 2, 3, 4),
	}},
}

var blackshawCards = []demoCard{
	{"Gill", findable.Choice{
		Name: "Gill", Words: "The village tea on Thursdays, and lifts to it.", Sector: "HX7 7", Open: true,
		Kinds: []string{"companionship", "cooking"}, Languages: []string{"English"}, Times: times(12, 17, 4),
	}},
	{"Moira", findable.Choice{
		Name: "Moira", Kinds: []string{"driving"}, Languages: []string{"English", "Welsh"}, Sector: "HX7 7",
		Times: times(8, 21, 2, 5), Open: true,
	}},
	{"Orla", findable.Choice{
		Name: "Orla", Kinds: []string{"personal care"}, Skills: []string{"moving and handling"},
		Languages: []string{"English", "Irish"}, Sector: "HX7 7", RatePence: 2000, Times: times(8, 17, 1, 3),
	}},
}

// beFound has some of the demo's people show a card to the other circles.
func (d *demo) beFound(ctx context.Context) error {
	for _, x := range []struct {
		p     *player
		cards []demoCard
	}{{d.hb, hebdenCards}, {d.bh, blackshawCards}} {
		steps := []step{{
			x.p.circle.founder, "sectors", "findable.sectors", findable.Sectors{Sectors: demoSectors},
		}}
		for _, c := range x.cards {
			steps = append(steps, step{
				c.who, "card of " + c.who, "findable.choose",
				findable.Choose{Card: c.card},
			})
		}
		if err := x.p.all(ctx, steps); err != nil {
			return err
		}
	}
	return nil
}
