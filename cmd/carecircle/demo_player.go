package main

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/auth"
)

// demoWait bounds how long the demo waits for something to happen between the nodes.
const demoWait = 60 * time.Second

// player plays the people of one node through its public API. Its request ids are made from the steps' names,
// so that playing again over the same directories repeats nothing.
type player struct {
	demo     *demo
	node     *node.Node
	circle   demoCircle
	token    string // the operator's
	ids      map[string]string
	sessions map[string]*api.Client
	signIns  int
}

func newPlayer(d *demo, n *node.Node, c demoCircle) (*player, error) {
	token, err := node.OperatorToken(n.Dir)
	if err != nil {
		return nil, err
	}
	return &player{
		demo: d, node: n, circle: c, token: token,
		ids: map[string]string{c.founder: n.Founder()}, sessions: map[string]*api.Client{},
	}, nil
}

func (p *player) base() string { return "http://" + p.node.Addr() }

func (p *player) operator() *api.Client { return api.NewClient(p.base(), p.token) }

// stepID names a step's request.
func (p *player) stepID(step string) machine.ID {
	sum := sha256.Sum256([]byte("demo " + string(p.node.Keys.CircleID()) + " " + step))
	return machine.ID(sum[:16])
}

// do has a person do a command, until there is an answer.
func (p *player) do(ctx context.Context, who, step, kind string, body, result any) (api.Answer, error) {
	client, ok := p.sessions[who]
	if !ok {
		return api.Answer{}, fmt.Errorf("%s is not signed in", who)
	}
	p.demo.bar.Increment()
	answer, err := client.Do(ctx, p.stepID(who+": "+step).String(), "", kind, body, result)
	if err != nil {
		return answer, fmt.Errorf("%s: %s: %w", p.node.Config.Name, step, err)
	}
	return answer, nil
}

// enter signs a person in by a fresh one-time link, as they would from their own device.
func (p *player) enter(ctx context.Context, who string) error {
	secret, hash, err := auth.NewSecret()
	if err != nil {
		return err
	}
	link := member.Link{Person: p.ids[who], Link: hash, Until: time.Now().Add(linkLife).UnixMilli()}
	if _, err := p.operator().Do(ctx, "", "", "member.link", link, nil); err != nil {
		return err
	}
	asked, err := json.Marshal(map[string]string{"link": secret})
	if err != nil {
		return err
	}
	var entered auth.Entered
	p.signIns++
	device := fmt.Sprintf("192.0.2.%d", 1+p.signIns%250) // a documentation address: everyone has a device
	err = api.NewClient(p.base(), "").From(device).Call(ctx, http.MethodPost, "/api/v1/enter", asked,
		&entered)
	if err != nil {
		return fmt.Errorf("%s: sign in %s: %w", p.node.Config.Name, who, err)
	}
	p.sessions[who] = api.NewClient(p.base(), entered.Token)
	return nil
}

// gather makes everybody known, and signs in those who play a part.
func (p *player) gather(ctx context.Context) error {
	for _, who := range p.circle.people {
		if err := p.invite(ctx, who); err != nil {
			return err
		}
		if err := p.enter(ctx, who.name); err != nil {
			return err
		}
		_, err := p.do(ctx, who.name, "choices of "+who.name, "member.choose", member.Choose{
			Name: machine.Text("", who.name), Seen: who.seen, Journey: who.named,
		}, nil)
		if err != nil {
			return err
		}
		if !who.enter {
			delete(p.sessions, who.name)
		}
	}
	return nil
}

func (p *player) invite(ctx context.Context, who demoPerson) error {
	if _, known := p.ids[who.name]; known {
		return nil
	}
	step := "invite " + who.name
	secret := sha256.Sum256([]byte(p.token + step))
	text := strings.ToLower(base32.StdEncoding.EncodeToString(secret[:20]))
	body := member.Invite{
		Name: machine.Text("", who.name), Hats: who.hats, Link: auth.HashLink(text),
		Until: p.node.Founded().Add(linkLife).UnixMilli(),
	}
	id := p.stepID(step)
	answer, err := p.operator().Do(ctx, id.String(), "", "member.invite", body, &member.Made{})
	if err != nil {
		return fmt.Errorf("%s: %s: %w", p.node.Config.Name, step, err)
	}
	p.demo.bar.Increment()
	p.ids[who.name] = answer.Result.(*member.Made).Person
	return nil
}

// earn records time given to the group, some days ago.
func (p *player) earn(ctx context.Context, who string, coins int64, activity, place string,
	daysAgo int,
) error {
	by := p.circle.founder
	_, err := p.do(ctx, by, "earn "+who+" "+activity, "coin.earn", coin.Earn{
		Person: p.ids[who], Minutes: coins * 60, Activity: activity, Place: place,
		On: p.node.Founded().AddDate(0, 0, -daysAgo).UnixMilli(),
	}, nil)
	return err
}

// until waits for a condition between the nodes.
func until(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, demoWait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := holds()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waited in vain until %s", what), ctx.Err())
		case <-tick.C:
		}
	}
}
