package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/p2p"
	"github.com/carecircle/carecircle/node/vault"
)

// seqsOfEpoch is how many bits a card's number has for the cards of one epoch.
const seqsOfEpoch = 32

// hostTerm is how long the circle's word for this machine holds; it is renewed at half of it.
const hostTerm = 365 * 24 * time.Hour

// cardOnDisk remembers the newest card, so that a later one counts on.
type cardOnDisk struct {
	Sealed []byte `json:"sealed"`
}

// makeCard signs this circle's card, or takes the one on disk if it still says what is so.
func (n *Node) makeCard() error {
	now := time.Now()
	card := charter.Card{
		Circle: n.Keys.CircleID(), Name: n.Config.Name, Place: n.Config.Place, Aim: n.Config.Aim,
		Key: n.Keys.CirclePublic(), Addrs: n.letters.reachable(), Seq: 1,
		Hosts: []charter.Host{{Peer: n.letters.host.ID(), Until: now.Add(hostTerm).UnixMilli()}},
	}
	if err := n.Read(func(r machine.Reader) error {
		// A restore may have brought back a card older than one that others have: it must count above all.
		card.Seq += timeline.Newest(r).Epoch << seqsOfEpoch
		return nil
	}); err != nil {
		return err
	}
	if n.company != nil {
		return n.companyCard(card)
	}
	path := filepath.Join(n.Dir, cardFile)
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read card: %w", err)
	default:
		var kept cardOnDisk
		if err := json.Unmarshal(raw, &kept); err != nil {
			return damagedCard(path, err)
		}
		old, err := charter.OpenCard(kept.Sealed)
		if err != nil {
			return damagedCard(path, err)
		}
		n.letters.remember(old.Addrs)
		card.Addrs = n.letters.reachable()
		if stillTrue(old, card, now) {
			n.card.Store(&kept.Sealed)
			return nil
		}
		card.Seq = max(card.Seq, old.Seq+1)
	}
	sealed, err := charter.Seal(n.Keys.Circle, card)
	if err != nil {
		return err
	}
	n.card.Store(&sealed)
	raw, err = json.Marshal(cardOnDisk{Sealed: sealed})
	if err != nil {
		return fmt.Errorf("write card: %w", err)
	}
	return vault.WriteFile(path, raw, 0o644)
}

func damagedCard(path string, err error) error {
	return fmt.Errorf("%s, the circle's card, is damaged: restore it from a copy of the directory, or remove"+
		" it, and a new one is made, which circles that know the old one may have to be given: %w", path, err)
}

func stillTrue(old, now charter.Card, at time.Time) bool {
	half := at.Add(hostTerm / 2).UnixMilli()
	return old.Name == now.Name && old.Place == now.Place && old.Aim == now.Aim && bytes.Equal(old.Key,
		now.Key) &&
		slices.Equal(old.Addrs, now.Addrs) && len(old.Hosts) == 1 && old.Hosts[0].Peer == now.Hosts[0].Peer &&
		old.Hosts[0].Until > half
}

// CardText returns this circle's card as a line that people can copy.
func (n *Node) CardText() string { return charter.Text(*n.card.Load()) }

// companyCard signs the card of a circle with several replicas. It follows from the circle's list of them
// alone, so that each signs the very same.
func (n *Node) companyCard(card charter.Card) error {
	card.Hosts, card.Addrs = nil, nil
	var newest uint64
	for _, p := range *n.company.known.Load() {
		newest = max(newest, p.Changed)
		if p.Status == replicas.Removed || len(p.Letters) == 0 {
			continue
		}
		peer, err := p2p.PeerID(p.Host)
		if err != nil {
			return fmt.Errorf("the card's host %s: %w", p.ID, err)
		}
		card.Hosts = append(card.Hosts, charter.Host{Peer: peer, Until: p.Said + hostTerm.Milliseconds()})
		card.Addrs = append(card.Addrs, p.Letters...)
	}
	card.Seq += newest
	sealed, err := charter.Seal(n.Keys.Circle, card)
	if err != nil {
		return err
	}
	n.card.Store(&sealed)
	return nil
}
