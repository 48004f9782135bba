package main

import (
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node"
)

// demoPerson is one invented person of the demo.
type demoPerson struct {
	name  string
	hats  []string
	seen  bool   // other members may see the name
	named bool   // coin journeys may name the person
	enter bool   // plays a part: signs in
	shown bool   // a sign-in link is printed
	about string // for whoever looks around
}

func persons(hat string, names ...string) []demoPerson {
	out := make([]demoPerson, 0, len(names))
	for _, n := range names {
		out = append(out, demoPerson{name: n, hats: []string{hat}, seen: true})
	}
	return out
}

// with changes the person of that name.
func with(people []demoPerson, name string, change func(*demoPerson)) {
	for i := range people {
		if people[i].name == name {
			change(&people[i])
			return
		}
	}
	panic("the demo has nobody called " + name)
}

func plays(named bool, about string) func(*demoPerson) {
	return func(p *demoPerson) { p.enter, p.named, p.about, p.shown = true, named, about, about != "" }
}

const demoAim = "Neighbours in Hebden Bridge giving and getting support on terms they choose"

func hebdenBridge() demoCircle {
	people := persons(member.HatGetting,
		"Agnes", "Arthur", "Beryl", "Brian", "Cyril", "Daphne", "Doreen", "Edith", "Frank", "Gerald",
		"Gwen", "Harold",
		"Hilda", "Ida", "Ivor", "Joyce", "Kenneth", "Leah", "Mabel", "Maurice", "Nadia", "Norah", "Omar",
		"Percy",
		"Queenie", "Roy", "Sheila", "Stanley", "Thelma", "Winnie")
	people = append(people, persons(member.HatGiving,
		"Bex", "Callum", "Dina", "Farida", "Gareth", "Holly", "Imran", "Naomi", "Amina", "Euan", "Jodie",
		"Kofi", "Lorna",
		"Marek", "Wendy", "Xavier", "Yvonne", "Zak", "Alice", "Ben", "Cathy", "Dev", "Eve", "Finn")...)
	people = append(people, persons(member.HatArranging, "Carol", "Paul", "Simon", "Malik")...)
	with(people, "Farida", plays(true, "Leader: coordinates, keeps the circle's decisions"))
	with(people, "Norah", plays(false, "welcomed with ten coins"))
	with(people, "Alice", plays(true, "gives company; her aunt lives in Blackshaw Head"))
	with(people, "Wendy", plays(true, "volunteer, visits Kitty in Blackshaw Head"))
	with(people, "Ben", plays(true, "gardener, gives all his coins to the pool"))
	with(people, "Agnes", plays(false, "84, looks around for the first time"))
	for _, name := range []string{"Xavier", "Yvonne", "Dev", "Stanley"} {
		with(people, name, plays(false, ""))
	}
	with(people, "Nadia", func(p *demoPerson) { p.seen = false })
	with(people, "Finn", func(p *demoPerson) { p.seen = false })
	return demoCircle{
		dir: "hebden-bridge", people: people, founder: "Farida",
		config: node.Config{Name: "Hebden Bridge", Place: "Hebden Bridge", Aim: demoAim},
	}
}

func blackshawHead() demoCircle {
	people := persons(member.HatGetting,
		"Alma", "Bernard", "Clara", "Desmond", "Elsie", "Fergus", "Greta", "Howard", "Irene", "Jonty",
		"Kitty", "Leonard",
		"Muriel", "Ned", "Olive", "Patrick", "Rita", "Sidney", "Una", "Vera")
	people = append(people, persons(member.HatGiving,
		"Orla", "Quentin", "Rhys", "Saskia", "Tariq", "Priya", "Ursula", "Gill", "Hugo", "Iris", "Jonah",
		"Kay", "Luca",
		"Moira", "Nick")...)
	people = append(people, persons(member.HatArranging, "Tess")...)
	with(people, "Orla", plays(true, "Leader: coordinates, keeps the circle's decisions"))
	with(people, "Kitty", plays(false, "88, thanked Wendy with coins"))
	with(people, "Irene", plays(true, "Alice's aunt"))
	for _, name := range []string{"Gill", "Hugo", "Moira"} {
		with(people, name, plays(false, ""))
	}
	return demoCircle{
		dir: "blackshaw-head", people: people, founder: "Orla",
		config: node.Config{
			Name: "Blackshaw Head", Place: "Blackshaw Head", Aim: "A village looking after its own, on" +
				" the terms of each",
		},
	}
}

func hubCircle() demoCircle {
	people := persons(member.HatGiving, "Hamid", "Ruth", "Grace", "Dominic", "Leila", "Tomas", "Petra")
	with(people, "Hamid", plays(true, "Leader of the Co-Circle, which joins the circles together"))
	return demoCircle{
		dir: "co-op", people: people, founder: "Hamid",
		config: node.Config{
			Name: "co-op", Place: "Calder Valley", Aim: "Joining the circles together and holding what" +
				" they share",
		},
	}
}
