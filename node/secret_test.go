package node_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/vault"
)

// TestSecretsAreNotShown prints and logs keys in every way at hand.
func TestSecretsAreNotShown(t *testing.T) {
	keys, err := node.ReadKeys(&vault.Files{Dir: makeNode(t)})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, v := range []any{keys, &keys, keys.Store, struct{ K node.Keys }{keys}, []any{keys.Store}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(raw)
		for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			slog.New(h).Info("keys", "keys", v, slog.Group("more", "keys", v))
		}
	}
	for _, key := range [][]byte{
		keys.Store[:], keys.Circle, keys.Host, keys.Circle.Seed(), keys.Host.Seed(),
	} {
		decimals := strings.Trim(fmt.Sprintf("%d", key[:8]), "[]")
		for _, form := range []string{
			string(key), fmt.Sprintf("%x", key[:8]), fmt.Sprintf("%X", key[:8]), decimals,
			strings.ReplaceAll(decimals, " ", ","), base64.StdEncoding.EncodeToString(key)[:8],
			base64.RawURLEncoding.EncodeToString(key)[:8],
		} {
			if strings.Contains(out.String(), form) {
				t.Fatalf("a key shows, as %s", form)
			}
		}
	}
	if !strings.Contains(out.String(), "(secret)") {
		t.Error("nothing was printed")
	}
}
