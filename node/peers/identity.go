package peers

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	caLabel = "carecircle replica ca v1"
	caName  = "carecircle replica ca"

	// A certificate is good for this long before and after the time of its making, and is made anew once
	// it is as old as the first: the clocks of two replicas may differ by half a day.
	certBefore = 12 * time.Hour
	certAfter  = 24 * time.Hour
)

// Names of the uses of a connection, as the handshake carries them.
const (
	protoRaft = "carecircle/raft/1"
	protoCall = "carecircle/call/1"
	protoJoin = "carecircle/join/1"
)

// CircleCA derives the key that signs the replicas' certificates from the circle's 32-byte seed. Every
// replica of the circle holds it, so a certificate says only "of this circle"; which replica it is, the
// host key says.
func CircleCA(seed []byte) (ed25519.PrivateKey, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("peers: a circle's seed has %d bytes, not %d", ed25519.SeedSize, len(seed))
	}
	key, err := hkdf.Key(sha256.New, seed, nil, caLabel, ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("peers: derive the replicas' CA: %w", err)
	}
	return ed25519.NewKeyFromSeed(key), nil
}

func checkID(id string) error {
	if id == "" || len(id) > maxIDBytes || !utf8.ValidString(id) {
		return fmt.Errorf("replica id %q: give 1 to %d bytes of text", id, maxIDBytes)
	}
	for _, r := range id {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("replica id %q: give printable text", id)
		}
	}
	return nil
}

// caCertificate makes the CA's own certificate. It comes out the same on every replica.
func caCertificate(ca ed25519.PrivateKey) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: caName},
		NotBefore:             time.Unix(0, 0),
		NotAfter:              time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // X.509 for "never"
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ca.Public(), ca)
	if err != nil {
		return nil, fmt.Errorf("make the CA's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the CA's certificate: %w", err)
	}
	return cert, nil
}

// certificate makes a replica's own certificate and makes it again before it ends.
type certificate struct {
	id       string
	host, ca ed25519.PrivateKey
	root     *x509.Certificate

	mu   sync.Mutex
	made time.Time
	cert *tls.Certificate
}

func (c *certificate) current() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Rounding drops the monotonic reading: a certificate's dates are those of the wall clock, which may
	// be set, and does not stand still while the machine sleeps.
	now := time.Now().Round(0)
	if age := now.Sub(c.made); c.cert != nil && age.Abs() < certBefore {
		return c.cert, nil
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a certificate's number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{CommonName: c.id},
		NotBefore:             now.Add(-certBefore),
		NotAfter:              now.Add(certAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.root, c.host.Public(), c.ca)
	if err != nil {
		return nil, fmt.Errorf("make this replica's certificate: %w", err)
	}
	// The CA's certificate goes along for those who know only its pin.
	c.cert = &tls.Certificate{Certificate: [][]byte{der, c.root.Raw}, PrivateKey: c.host}
	c.made = now
	return c.cert, nil
}

// verify checks the other side's certificate against the CA and says whose it is.
func verify(state tls.ConnectionState, roots *x509.CertPool) (string, ed25519.PublicKey, error) {
	if len(state.PeerCertificates) == 0 {
		return "", nil, errors.New("no certificate was shown")
	}
	leaf := state.PeerCertificates[0]
	// The usage that is asked for does not matter: every certificate has both.
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: usages}); err != nil {
		return "", nil, fmt.Errorf("certificate of %q is not one of this circle's, or a clock is wrong: %w",
			leaf.Subject.CommonName, err)
	}
	host, ok := leaf.PublicKey.(ed25519.PublicKey)
	if !ok {
		return "", nil, fmt.Errorf("certificate holds a %T, want an Ed25519 key", leaf.PublicKey)
	}
	if err := checkID(leaf.Subject.CommonName); err != nil {
		return "", nil, err
	}
	return leaf.Subject.CommonName, host, nil
}

// verifyPin does the same for one who knows only the CA's pin.
func verifyPin(state tls.ConnectionState, pin Pin) error {
	roots := x509.NewCertPool()
	for _, cert := range state.PeerCertificates {
		if key, ok := cert.PublicKey.(ed25519.PublicKey); ok && PinOf(key) == pin && cert.IsCA {
			roots.AddCert(cert)
		}
	}
	_, _, err := verify(state, roots)
	return err
}

func notAllowed(id string) error {
	return fmt.Errorf("replica %s with that host key is not one of this circle's", id)
}
