package clearing

import (
	"slices"
	"strings"
)

// numbers gives names numbers, in the order they come.
type numbers struct {
	names []string
	by    map[string]int32
}

func newNumbers() *numbers { return &numbers{by: map[string]int32{}} }

func (n *numbers) of(name string) int32 {
	i, ok := n.by[name]
	if !ok {
		i = int32(len(n.names))
		n.by[name], n.names = i, append(n.names, name)
	}
	return i
}

// sorted returns the names in order, and for every number the name's place there.
func (n *numbers) sorted() (names []string, places []int32) {
	order := make([]int32, len(n.names))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return strings.Compare(n.names[a], n.names[b]) })
	names, places = make([]string, len(order)), make([]int32, len(order))
	for place, i := range order {
		names[place], places[i] = n.names[i], int32(place)
	}
	return names, places
}
