package node

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node/backup"
)

// ownCopies lists the backups in this node's own directory of them.
func (n *Node) ownCopies() []member.Copy {
	if n.Config.Backup == nil {
		return []member.Copy{}
	}
	k := backup.Keeper{Config: n.Config.Backup.In(n.Dir), Circle: n.Keys.CircleID()}
	out, err := k.Copies()
	if err != nil { // whoever asks has to know that there may be more
		return []member.Copy{{Name: fmt.Sprintf("backups that cannot be listed: %v", err)}}
	}
	return out
}

// copies lists the backups on all of the circle's machines, as far as they are kept where the config says.
// A machine that does not answer is in the list: it may have some.
func (n *Node) copies(ctx context.Context) []member.Copy {
	all := n.ownCopies()
	if n.company == nil {
		return all
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	named(all, n.company.id)
	others := n.company.others()
	answers := make(chan []member.Copy, len(others))
	for _, p := range others {
		go func() {
			var theirs []member.Copy
			raw, err := n.company.mesh.Call(ctx, p.ID, callCopies, nil)
			if err == nil {
				err = json.Unmarshal(raw, &theirs)
			}
			if err != nil {
				theirs = []member.Copy{{Name: "whatever it has: it does not answer"}}
			}
			named(theirs, p.ID)
			answers <- theirs
		}()
	}
	for range others {
		all = append(all, <-answers...)
	}
	return all
}

// named says on which replica's machine the backups are.
func named(copies []member.Copy, id string) {
	for i := range copies {
		copies[i].Name = "replica " + id + ": " + copies[i].Name
	}
}
