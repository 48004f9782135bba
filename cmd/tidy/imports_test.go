package main

import (
	"fmt"
	"testing"
)

// importing is a tree of one file that imports one package.
func importing(path, imported string) string {
	return fmt.Sprintf("-- %s --\npackage x\n\nimport _ %q\n", path, imported)
}

func TestImportTable(t *testing.T) {
	const ours = "example.org/care/"
	for _, c := range []struct{ file, imported, want string }{
		{"ledger/a.go", "sort", ""},
		{"ledger/a.go", ours + "ledger/rounding", ""},
		{"ledger/a.go", ours + "circle/machine", "ledger may not import circle/machine"},
		{"ledger/a.go", "github.com/tidwall/btree", "the standard library only"},
		{"ledger/a_test.go", "pgregory.net/rapid", ""},
		{"ledger/a_test.go", ours + "federation/letter", "floor 1 may not import federation/letter"},
		{"federation/payment/a.go", ours + "ledger", ""},
		{"federation/payment/a.go", ours + "federation/letter", ""},
		{"federation/payment/a.go", ours + "federation/p2p", "may not import federation/p2p"},
		{"federation/payment/a.go", ours + "circle/coin", "may not import circle/coin"},
		{"federation/p2p/a.go", ours + "federation/letter", ""},
		{"federation/p2p/a.go", ours + "federation/memnet", "may not import federation/memnet"},
		{"federation/p2p/a_test.go", ours + "federation/memnet", ""},
		{"federation/p2p/a.go", ours + "node/store", "may not import node/store"},
		{"circle/machine/a.go", ours + "ledger", "circle/machine may not import ledger"},
		{"circle/machine/a.go", ours + "circle/coin", "may not import circle/coin"},
		{"circle/machine/a_test.go", ours + "circle/coin", ""},
		{"circle/coin/a.go", ours + "circle/machine", ""},
		{"circle/coin/a.go", ours + "circle/member", ""},
		{"circle/coin/a.go", ours + "federation/letter", "circle/coin may not import federation/letter"},
		{"circle/coin/a.go", ours + "circle", "circle/coin may not import circle"},
		{"circle/coin/a.go", ours + "node", "circle/coin may not import node"},
		{"circle/coin/a_test.go", ours + "node/sim", "floor 3 may not import node/sim on floor 4"},
		{"circle/exchange/a.go", ours + "federation/letter", ""},
		{"circle/exchange/a.go", ours + "federation/p2p", "may not import federation/p2p"},
		{"circle/a.go", ours + "circle/coin", ""},
		{"circle/a.go", ours + "node", "circle may not import node"},
		{"node/web/a.go", ours + "circle/coin", ""},
		{"node/web/a.go", ours + "node/web/templates", ""},
		{"node/web/a.go", ours + "node/auth", "node/web may not import node/auth"},
		{"node/web/a_test.go", ours + "node/auth", ""},
		{"node/web/a.go", ours + "node", "node/web may not import node"},
		{"node/web/a_test.go", ours + "cmd/carecircle", "floor 4 may not import cmd/carecircle on floor 5"},
		{"node/sim/a.go", ours + "federation/memnet", ""},
		{"node/sim/a.go", ours + "federation/p2p", "node/sim may not import federation/p2p"},
		{"node/sim/a.go", ours + "node/store", "node/sim may not import node/store"},
		{"node/a.go", ours + "node/store", ""},
		{"node/a.go", ours + "node/backup", ""},
		{"node/backup/a.go", ours + "node/store", ""},
		{"node/backup/a.go", ours + "node/replica", "node/backup may not import node/replica"},
		{"node/api/a.go", ours + "node/store", "node/api may not import node/store"},
		{"node/a.go", ours + "cmd/carecircle", "node may not import cmd/carecircle"},
		{"cmd/carecircle/a.go", ours + "node/api", ""},
		{"cmd/carecircle/a.go", ours + "node/sim", ""},
		{"cmd/tidy/a.go", ours + "ledger", "cmd/tidy may not import ledger"},
		{"node/a.go", ours + "odds/ends", "odds/ends has no row"},
	} {
		b := breach{name: c.file + " " + c.imported, tree: importing(c.file, c.imported)}
		if c.want != "" {
			b.want = []string{c.file + ":3: " + c.want}
		}
		hunt(t, checkImports, []breach{b})
	}
}

func TestEveryFolderHasItsPlace(t *testing.T) {
	hunt(t, checkImports, []breach{
		{"unknown", "-- odds/a.go --\npackage odds\n", []string{"odds/a.go:1: no row in the import table"}},
		{"root", "-- a.go --\npackage care\n", []string{"a.go:1: no row in the import table"}},
	})
}

func TestOwners(t *testing.T) {
	for _, c := range []struct{ file, imported, want string }{
		{"node/replica/a.go", "github.com/hashicorp/raft", ""},
		{"node/store/a.go", "github.com/hashicorp/raft", ""},
		{"node/a.go", "github.com/hashicorp/raft", "may be imported only by node/replica, node/store"},
		{"node/a_test.go", "github.com/hashicorp/raft", "may be imported only by"},
		{"node/gossip/a.go", "github.com/hashicorp/memberlist", ""},
		{"node/replica/a.go", "github.com/hashicorp/memberlist", "only by node/gossip"},
		{"node/store/a.go", "github.com/dgraph-io/badger/v4", ""},
		{"node/api/a.go", "github.com/dgraph-io/badger/v4", "only by node/store"},
		{"node/api/a.go", "go.etcd.io/bbolt", "only by node/store"},
		{"federation/p2p/a.go", "github.com/multiformats/go-multiaddr", ""},
		{"node/a.go", "github.com/multiformats/go-multiaddr", "only by federation/p2p"},
		{"node/a.go", "github.com/libp2p/go-libp2p/core/peer", "only by federation/p2p"},
		{"cmd/carecircle/a.go", "github.com/spf13/cobra", ""},
		{"cmd/tidy/a.go", "github.com/spf13/cobra", "only by cmd/carecircle"},
		{"node/auth/a.go", "github.com/go-webauthn/webauthn/webauthn", ""},
		{"node/web/a.go", "github.com/go-webauthn/webauthn/webauthn", "only by node/auth"},
		{"node/web/a_test.go", "github.com/go-webauthn/webauthn/webauthn", ""},
		{"node/web/assets/build/main.go", "github.com/evanw/esbuild/pkg/api", ""},
		{"node/api/a.go", "github.com/evanw/esbuild/pkg/api", "only by node/web"},
		{"node/web/a_test.go", "github.com/chromedp/chromedp", ""},
		{"node/web/a.go", "github.com/chromedp/chromedp", "only by the tests of node/web"},
	} {
		b := breach{name: c.file + " " + c.imported, tree: importing(c.file, c.imported)}
		if c.want != "" {
			b.want = []string{c.file + ":3: " + c.want}
		}
		hunt(t, checkOwners, []breach{b})
	}
}
