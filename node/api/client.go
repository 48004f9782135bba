package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
)

// MaxAnswerBytes bounds what the client reads of one answer.
const MaxAnswerBytes = 64 << 20

// Client speaks to a node over HTTP. It is safe for use by several goroutines.
type Client struct {
	base  string
	token string
	from  string
	http  *http.Client
}

// NewClient returns a client of the node at base, such as http://127.0.0.1:7001, with the token of a session
// or of the operator; an empty token reads what is public.
func NewClient(base, token string) *Client {
	return &Client{
		base: strings.TrimRight(base, "/"), token: token,
		http: &http.Client{Timeout: 30 * time.Second},
	}
}

// From returns a client that passes requests on for the device at an address, as a reverse proxy on the
// node's own machine does: the node counts that address, not the proxy's.
func (c *Client) From(addr string) *Client {
	passing := *c
	passing.from = addr
	return &passing
}

// Patient returns a client that waits for as long as its context says, for answers that take their time.
func (c *Client) Patient() *Client {
	patient := *c
	patient.http = &http.Client{}
	return &patient
}

// Base returns the node's address.
func (c *Client) Base() string { return c.base }

// Do does a command. With an empty id a new one is drawn, and a failure leaves the outcome unknown; to retry,
// draw the id with NewID and send it again until there is an answer. A refusal is a *machine.Error.
func (c *Client) Do(ctx context.Context, id, onBehalfOf, kind string, body, result any) (Answer, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return Answer{}, fmt.Errorf("do %s: %w", kind, err)
	}
	req, err := json.Marshal(Request{ID: id, OnBehalfOf: onBehalfOf, Body: raw})
	if err != nil {
		return Answer{}, fmt.Errorf("do %s: %w", kind, err)
	}
	answer := Answer{Result: result}
	err = c.Call(ctx, http.MethodPost, "/api/v1/do/"+url.PathEscape(kind), req, &answer)
	return answer, err
}

// View reads a view into answer.
func (c *Client) View(ctx context.Context, name string, query url.Values, answer any) error {
	path := "/api/v1/view/" + url.PathEscape(name)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.Call(ctx, http.MethodGet, path, nil, answer)
}

// Call sends one request and reads its JSON answer.
func (c *Client) Call(ctx context.Context, method, path string, body []byte, answer any) error {
	res, err := c.Send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Close() //nolint:errcheck // read to its end
	if err := json.NewDecoder(io.LimitReader(res, MaxAnswerBytes)).Decode(answer); err != nil {
		return fmt.Errorf("%s %s: the node's answer cannot be read: %w", method, path, err)
	}
	return nil
}

// Send sends one request and returns the body of a successful answer, to be closed.
func (c *Client) Send(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.from != "" {
		req.Header.Set("X-Forwarded-For", c.from)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the node at %s does not answer; is it running? %w", c.base, err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	raw, err := io.ReadAll(io.LimitReader(res.Body, MaxBodyBytes))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	var refusal machine.Error
	if json.Unmarshal(raw, &refusal) != nil || refusal.Code == "" {
		return nil, fmt.Errorf("%s %s: the node answered %s", method, path, res.Status)
	}
	return nil, &refusal
}
