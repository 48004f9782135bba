package peers

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
)

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return c, nil
}

// dial opens a connection of one use to a replica, at the first of its addresses where it answers.
func (m *Mesh) dial(ctx context.Context, id, proto string) (*conn, error) {
	addrs := m.cfg.Resolve(id)
	if len(addrs) == 0 {
		return nil, errors.New("no address of it is known: has it been started?")
	}
	var errs []error
	for _, addr := range addrs {
		c, err := m.dialAddr(ctx, id, addr, proto)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("at %s: %w", addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (m *Mesh) dialAddr(ctx context.Context, id, addr, proto string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	raw, err := m.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c, err := m.secure(ctx, raw, id, proto)
	if err != nil {
		_ = raw.Close() // what went wrong before is the error to tell
		return nil, err
	}
	return c, nil
}

// secure makes a connection to the replica out of a bare one.
func (m *Mesh) secure(ctx context.Context, raw net.Conn, id, proto string) (*conn, error) {
	var host ed25519.PublicKey
	secured := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{proto},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return m.cert.current()
		},
		// A replica goes by its id, not by a host name: VerifyConnection checks all there is to check.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			found, key, err := verify(state, m.roots)
			switch {
			case err != nil:
				return err
			case found != id:
				return fmt.Errorf("replica %s answers there, not %s", found, id)
			case !m.cfg.Allowed(id, key):
				return notAllowed(id)
			}
			host = key
			return nil
		},
	})
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if err := awaitHello(ctx, secured, raw); err != nil {
		return nil, err
	}
	return m.keep(secured, raw, id, host)
}

// awaitHello waits for the other side's consent to the connection.
func awaitHello(ctx context.Context, secured *tls.Conn, raw net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // which ends the read
	word := make([]byte, len(hello))
	_, err := io.ReadFull(secured, word)
	if !stop() {
		return fmt.Errorf("wait to be let in: %w", context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("it does not let this one in: %w", err)
	}
	return nil
}
