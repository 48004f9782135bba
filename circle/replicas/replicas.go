// Package replicas holds which machines keep the circle's books. An operator decides; the decision is logged
// like any other, and the node that leads carries it out. Who is alive at the moment is not in here.
package replicas

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/carecircle/carecircle/circle/machine"
)

// Status of a replica.
type Status uint8

// The statuses.
const (
	Joining Status = 1 // gets a copy of the books and has no say yet
	Voting  Status = 2 // counts when it is asked whether an entry is safe
	Removed Status = 3
)

var statusNames = []string{"", "joining", "voting", "removed"}

// String is the status's word.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "unknown"
}

// MarshalText is the status's word, for JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the status's word.
func (s *Status) UnmarshalText(text []byte) error {
	i := slices.Index(statusNames, string(text))
	if i < 1 {
		return fmt.Errorf("%.20q is no replica's status", text)
	}
	*s = Status(i)
	return nil
}

// First is the id of the replica that a circle begins with.
const First = "one"

// Replica is one machine that keeps the circle's books, or did.
type Replica struct {
	_       struct{} `cbor:",toarray"`
	ID      string   `json:"id"`
	Host    []byte   `json:"host"`    // the machine's public key (Ed25519)
	Addrs   []string `json:"addrs"`   // where the other replicas reach it
	Gossip  string   `json:"gossip"`  // where their gossip reaches it
	Letters []string `json:"letters"` // where other circles reach it
	Status  Status   `json:"status"`
	Life    uint32   `json:"life"` // counts up each time it begins anew on empty disks
	Since   int64    `json:"since"`
	Said    int64    `json:"said"`    // when it last wrote down its addresses
	Changed uint64   `json:"changed"` // position in the journal of the newest change
}

type invitation struct {
	_     struct{} `cbor:",toarray"`
	Until int64
	Used  string // by the replica of that id; empty: not yet
}

var (
	replicas    = machine.NewTable[Replica]("replicas", "replica")
	invitations = machine.NewTable[invitation]("replicas", "invitation")
)

// Find returns a replica by id.
func Find(r machine.Reader, id string) (Replica, bool) { return replicas.Get(r, machine.Key{}.Str(id)) }

// All returns every replica there is or was, by id.
func All(r machine.Reader) []Replica {
	var all []Replica
	for _, p := range replicas.All(r, nil, nil) {
		all = append(all, p)
	}
	return all
}

// Inviting tells whether an invitation is out that somebody may use yet.
func Inviting(r machine.Reader, now int64) bool {
	for _, i := range invitations.All(r, nil, nil) {
		if i.Used == "" && now < i.Until {
			return true
		}
	}
	return false
}

func put(tx *machine.Tx, p Replica) {
	p.Changed, _ = tx.Head()
	replicas.Put(tx, machine.Key{}.Str(p.ID), p)
}

var (
	operator = machine.Only(machine.ActorOperator)
	node     = machine.Only(machine.ActorNode)
)

// Feature returns the feature's rules and views.
func Feature() machine.Feature {
	return machine.Feature{
		Name: "replicas",
		Rules: []machine.Rule{
			machine.Do("replicas.register", "Write down where a replica is reached.", node, register),
			machine.Do("replicas.invite", "Let another machine keep the circle's books, once.", operator,
				invite),
			machine.Do("replicas.join", "Use an invitation: a machine becomes a replica.", node, join),
			machine.Do("replicas.promote", "Count a replica that has caught up.", node, promote),
			machine.Do("replicas.renew", "Have a replica whose disks were lost begin anew.", node, renew),
			machine.Do("replicas.remove", "Have a machine keep the circle's books no longer.", operator,
				remove),
		},
		Views: []machine.View{
			machine.Ask("replicas.list", "The machines that keep the circle's books, and those that did.",
				machine.AnyOf(operator, node), list),
		},
	}
}

func register(tx *machine.Tx, b Register) (machine.None, error) {
	p, ok := Find(tx, b.ID)
	switch {
	case !ok && len(All(tx)) > 0:
		return machine.None{}, unknown(b.ID)
	case !ok:
		p = Replica{ID: b.ID, Host: b.Host, Status: Voting, Since: tx.Now()}
	case p.Status == Removed:
		return machine.None{}, gone(p)
	case string(p.Host) != string(b.Host):
		return machine.None{}, machine.Refuse("replica_other_host", "The replica %q is another machine."+
			" Remove it and let this one join as a new one.", b.ID)
	}
	p.Addrs, p.Gossip, p.Letters, p.Said = b.Addrs, b.Gossip, b.Letters, tx.Now()
	put(tx, p)
	return machine.None{}, nil
}

func invite(tx *machine.Tx, b Invite) (machine.None, error) {
	if b.Until <= tx.Now() || b.Until > tx.Now()+MaxInvitationMillis {
		return machine.None{}, machine.Refuse("bad_time", "An invitation lasts at least a moment and at most"+
			" a week.")
	}
	key := machine.Key{}.Bytes(b.Invitation[:])
	if invitations.Has(tx, key) {
		return machine.None{}, machine.Refuse("link_reused",
			"This invitation exists already. Make a new one.")
	}
	if err := roomForOne(tx); err != nil {
		return machine.None{}, err
	}
	invitations.Put(tx, key, invitation{Until: b.Until})
	return machine.None{}, nil
}

func roomForOne(tx *machine.Tx) error {
	n := 0
	for _, p := range All(tx) {
		if p.Status != Removed {
			n++
		}
	}
	if n >= MaxReplicas {
		return machine.Refuse("too_many", "The circle has %d replicas, the most there can be. Remove one"+
			" first.", n)
	}
	return nil
}

func join(tx *machine.Tx, b Join) (Joined, error) {
	key := machine.Key{}.Bytes(b.Invitation[:])
	i, ok := invitations.Get(tx, key)
	switch {
	case !ok || tx.Now() >= i.Until:
		return Joined{}, machine.Refuse("link_expired", "This invitation is not known here or has ended."+
			" Make a new one: carecircle replica invite.")
	case usedBy(tx, i, b.Host):
		return Joined{ID: i.Used}, nil // the answer was lost on its way
	case i.Used != "":
		return Joined{}, machine.Refuse("link_used", "This invitation was used before. Make a new one:"+
			" carecircle replica invite.")
	}
	if err := roomForOne(tx); err != nil {
		return Joined{}, err
	}
	all := All(tx)
	for _, p := range all {
		if string(p.Host) == string(b.Host) {
			return Joined{}, machine.Refuse("replica_known", "This machine is the replica %q already.", p.ID)
		}
	}
	p := Replica{
		ID: "r" + strconv.Itoa(len(all)+1), Host: b.Host, Addrs: b.Addrs, Gossip: b.Gossip,
		Status: Joining, Since: tx.Now(), Said: tx.Now(),
	}
	put(tx, p)
	i.Used = p.ID
	invitations.Put(tx, key, i)
	return Joined{ID: p.ID}, nil
}

func usedBy(tx *machine.Tx, i invitation, host []byte) bool {
	p, ok := Find(tx, i.Used)
	return ok && p.Status != Removed && string(p.Host) == string(host)
}

func promote(tx *machine.Tx, b Named) (machine.None, error) {
	p, ok := Find(tx, b.ID)
	switch {
	case !ok:
		return machine.None{}, unknown(b.ID)
	case p.Status == Removed:
		return machine.None{}, gone(p)
	case p.Status == Voting:
		return machine.None{}, machine.Refuse("no_change", "The replica %q counts already.", p.ID)
	}
	p.Status, p.Since = Voting, tx.Now()
	put(tx, p)
	return machine.None{}, nil
}

// renew takes a replica's vote away until it has caught up again: whoever lost their disks must not vouch for
// entries that were on them.
func renew(tx *machine.Tx, b Named) (Renewed, error) {
	p, err := leaving(tx, b.ID)
	if err != nil {
		return Renewed{}, err
	}
	p.Status, p.Since, p.Life = Joining, tx.Now(), p.Life+1
	put(tx, p)
	return Renewed{Life: p.Life}, nil
}

func remove(tx *machine.Tx, b Named) (machine.None, error) {
	p, err := leaving(tx, b.ID)
	if err != nil {
		return machine.None{}, err
	}
	p.Status, p.Since = Removed, tx.Now()
	put(tx, p)
	return machine.None{}, nil
}

// Restart leaves a circle whose books were put back from a backup with one replica, the machine they were put
// back on. All others are removed, whatever their state, and no invitation of before holds.
func Restart(tx *machine.Tx, host []byte) {
	for _, p := range All(tx) {
		if p.ID != First && p.Status != Removed {
			p.Status, p.Since = Removed, tx.Now()
			put(tx, p)
		}
	}
	put(tx, Replica{ID: First, Host: host, Status: Voting, Since: tx.Now(), Said: tx.Now()})
	var open []machine.Key
	for key, i := range invitations.All(tx, nil, nil) {
		if i.Used == "" {
			open = append(open, slices.Clone(key))
		}
	}
	for _, key := range open {
		invitations.Delete(tx, key)
	}
}

// leaving returns a replica that can do without its vote.
func leaving(tx *machine.Tx, id string) (Replica, error) {
	p, ok := Find(tx, id)
	if !ok {
		return p, unknown(id)
	}
	if p.Status == Removed {
		return p, gone(p)
	}
	for _, other := range All(tx) {
		if other.ID != id && other.Status == Voting {
			return p, nil
		}
	}
	return p, machine.Refuse("replica_last", "The replica %q is the only one that keeps the circle's books"+
		" whole. Let another join first, or restore a backup.", id)
}

func unknown(id string) error {
	return machine.Refuse("replica_unknown",
		"There is no replica %.64q. The list: carecircle replica list.", id)
}

func gone(p Replica) error {
	return machine.Refuse("replica_removed", "The replica %q was removed. Let the machine join as a new one.",
		p.ID)
}

func list(rd machine.Read, _ machine.None) (Listing, error) {
	out := Listing{Replicas: []Replica{}}
	out.Replicas = append(out.Replicas, All(rd)...)
	return out, nil
}
