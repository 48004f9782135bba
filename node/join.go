package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/peers"
	"github.com/carecircle/carecircle/node/vault"
)

const (
	invitationLife = time.Hour
	ticketPrefix   = "ccjoin1."
	joinLimit      = time.Minute
)

// ticket is what a machine needs to become a replica, as one line of text that is passed on by hand.
type ticket struct {
	Addrs  []string  `json:"a"` // where the replicas there are can be reached
	Pin    peers.Pin `json:"p"` // of the circle's certificates
	Secret []byte    `json:"s"`
}

// InviteReplica readies an invitation for one more replica, for an hour and for one use.
func (n *Node) InviteReplica(ctx context.Context) (string, error) {
	if n.company == nil {
		return "", machine.Refuse("replica_alone", "This node has no address for other replicas. Add to its"+
			` config.json, with addresses that the others reach: "replica": {"id": "one",`+
			` "listen": "10.0.0.1:7201", "gossip": "10.0.0.1:7202"}, and start it again.`)
	}
	ca, err := peers.CircleCA(n.Keys.Circle.Seed())
	if err != nil {
		return "", err
	}
	t := ticket{Pin: peers.PinOf(ca.Public().(ed25519.PublicKey)), Secret: make([]byte, 32)}
	_, _ = rand.Read(t.Secret) // cannot fail
	for _, p := range *n.company.known.Load() {
		if p.Status == replicas.Voting {
			t.Addrs = append(t.Addrs, p.Addrs...)
		}
	}
	id, err := api.NewID()
	if err != nil {
		return "", err
	}
	c, err := machine.NewCommand(id, machine.Caller{Actor: machine.ActorOperator}, 0, "replicas.invite",
		replicas.Invite{
			Invitation: sha256.Sum256(t.Secret), Until: time.Now().Add(invitationLife).UnixMilli(),
		})
	if err != nil {
		return "", err
	}
	out, err := n.Do(ctx, c)
	if err == nil && out.Refusal != nil {
		err = out.Refusal
	}
	if err != nil {
		return "", err
	}
	n.company.asks.Store(true) // the others will see it in a moment
	raw, err := json.Marshal(t)
	return ticketPrefix + base64.RawURLEncoding.EncodeToString(raw), err
}

func parseTicket(text string) (ticket, error) {
	var t ticket
	coded, ok := strings.CutPrefix(strings.TrimSpace(text), ticketPrefix)
	raw, err := base64.RawURLEncoding.DecodeString(coded)
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	if err != nil || !ok || len(t.Addrs) == 0 || len(t.Secret) != 32 {
		return t, errors.New("this is not an invitation, or not all of it: copy the whole line that" +
			" carecircle replica invite prints")
	}
	return t, nil
}

type joinRequest struct {
	Secret []byte   `json:"secret"`
	Host   []byte   `json:"host"`
	Addrs  []string `json:"addrs"`
	Gossip string   `json:"gossip"`
}

// joinAnswer is all that a circle's replicas have in common beside the books.
type joinAnswer struct {
	ID       string             `json:"id"`
	Circle   []byte             `json:"circle"` // the seed of the circle's key
	Config   Config             `json:"config"` // what the circle is called
	Vault    []vaultKey         `json:"vault"`
	Replicas []replicas.Replica `json:"replicas"`
}

// joins answers a machine that wants to become a replica. What it says of errors goes to a stranger.
func (m *company) joins(ctx context.Context, raw []byte) ([]byte, error) {
	var asked joinRequest
	if err := json.Unmarshal(raw, &asked); err != nil {
		return nil, errors.New("the request to join cannot be read: use the same version of carecircle")
	}
	n := m.node
	result, err := n.resultAsNode(ctx, "replicas.join", replicas.Join{
		Invitation: sha256.Sum256(asked.Secret), Host: asked.Host, Addrs: asked.Addrs, Gossip: asked.Gossip,
	})
	var refusal *machine.Error
	switch {
	case errors.As(err, &refusal):
		return nil, errors.New(refusal.Message)
	case err != nil:
		m.log.Warn("a machine could not join", "err", err)
		return nil, errors.New("the circle could not decide just now: try again")
	}
	answer := joinAnswer{
		ID: result.(replicas.Joined).ID, Circle: n.Keys.Circle.Seed(),
		Config:   Config{Name: n.Config.Name, Place: n.Config.Place, Aim: n.Config.Aim},
		Replicas: *m.known.Load(),
	}
	err = n.Read(func(r machine.Reader) error {
		now, ok := member.TheVault(r)
		if e, here := n.sealer.vault.Export(now.Version, now.Mark); ok && here {
			answer.Vault = append(answer.Vault, keyOf(e))
		}
		return nil
	})
	if err != nil {
		return nil, errors.New("this replica is stopping: try another")
	}
	return json.Marshal(answer)
}

// Join makes a directory for a further replica of the circle that the invitation is of. The config's own
// addresses are the new machine's. It may be tried again with the same invitation and directory.
func Join(ctx context.Context, dir, invitation string, c Config) (Config, error) {
	t, err := parseTicket(invitation)
	if err != nil {
		return c, fmt.Errorf("join: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, configFile)); err == nil {
		return c, fmt.Errorf("join: %s already holds a circle; choose an empty directory", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return c, fmt.Errorf("join: %w", err)
	}
	files := &vault.Files{Dir: dir}
	if _, err := os.Stat(filepath.Join(dir, hostKey)); errors.Is(err, os.ErrNotExist) {
		if err := writeMachineSecrets(dir); err != nil {
			return c, fmt.Errorf("join: %w", err)
		}
	}
	seed, err := readSecret(files, hostKey)
	if err != nil {
		return c, fmt.Errorf("join: %w", err)
	}
	host := ed25519.NewKeyFromSeed(seed)
	answer, err := c.Replica.askToJoin(ctx, t, host)
	if err != nil {
		return c, fmt.Errorf("join: %w", err)
	}
	c.Name, c.Place, c.Aim = answer.Config.Name, answer.Config.Place, answer.Config.Aim
	c.Replica.ID, c.Replica.Joined = answer.ID, true
	if err := c.settle(dir, files, answer); err != nil {
		return c, fmt.Errorf("join: %w", err)
	}
	return c, nil
}

// settle writes what a joined replica's directory holds; the config comes last.
func (c Config) settle(dir string, files *vault.Files, answer joinAnswer) error {
	if err := c.Check(); err != nil {
		return err
	}
	if len(answer.Circle) != ed25519.SeedSize {
		return errors.New("the circle's answer holds no key: use the same version of carecircle")
	}
	text := base64.RawURLEncoding.EncodeToString(answer.Circle) + "\n"
	if err := vault.WriteFile(filepath.Join(dir, circleKey), []byte(text), secretMode); err != nil {
		return err
	}
	v, err := vault.Open(files)
	if err != nil {
		return err
	}
	for _, k := range answer.Vault {
		if err := v.Import(k.entry()); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(answer.Replicas)
	if err != nil {
		return err
	}
	if err := vault.WriteFile(filepath.Join(dir, companyFile), raw, 0o644); err != nil {
		return err
	}
	return writeConfig(dir, c)
}

func (c ReplicaConfig) askToJoin(ctx context.Context, t ticket, host ed25519.PrivateKey) (answer joinAnswer,
	err error,
) {
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	if err := c.fits(t.Addrs); err != nil {
		return answer, err
	}
	key := host.Public().(ed25519.PublicKey)
	at, err := c.reached(key)
	if err != nil {
		return answer, err
	}
	raw, err := json.Marshal(joinRequest{
		Secret: t.Secret, Host: key, Addrs: []string{at}, Gossip: c.reachedGossip(),
	})
	if err != nil {
		return answer, err
	}
	dial, end, err := c.dialJoin(host)
	if err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, end()) }()
	var last error
	for _, addr := range t.Addrs {
		got, err := peers.Join(ctx, dial, addr, t.Pin, raw)
		var said *peers.RemoteError
		if errors.As(err, &said) {
			return answer, errors.New(said.Text)
		}
		if err != nil {
			last = fmt.Errorf("%s: %w", addr, err)
			continue
		}
		return answer, json.Unmarshal(got, &answer)
	}
	return answer, fmt.Errorf("no replica of the circle is reached: %w", last)
}

// replicaRoutes are for whoever runs the node.
func (n *Node) replicaRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/replicas/invite", n.operatorOnly(func(w http.ResponseWriter,
		r *http.Request,
	) error {
		text, err := n.InviteReplica(r.Context())
		var refusal *machine.Error
		if errors.As(err, &refusal) {
			w.WriteHeader(http.StatusConflict)
			return writeJSON(w, refusal)
		}
		if err != nil {
			return err
		}
		return writeJSON(w, map[string]string{"invitation": text})
	}))
	mux.HandleFunc("GET /api/v1/replicas", n.operatorOnly(func(w http.ResponseWriter, r *http.Request) error {
		all := n.Replicas(r.Context())
		if all == nil {
			all = []Standing{}
		}
		return writeJSON(w, all)
	}))
}
