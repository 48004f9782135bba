package main

import (
	"fmt"
	"slices"
	"strings"
)

// library is a third-party library that only its owners may import, so that it can be replaced there.
type library struct {
	prefix      string   // of its import paths
	owners      []string // parts whose code and tests may import it
	testOwners  []string // parts of which only the tests may
	inEveryTest bool
}

var libraries = []library{
	{prefix: "github.com/hashicorp/raft", owners: []string{"node/replica", "node/store"}},
	{prefix: "github.com/hashicorp/memberlist", owners: []string{"node/gossip"}},
	{
		prefix: "github.com/dgraph-io/", owners: []string{"node/store"},
		testOwners: []string{"node"}, // which looks for what was erased in old versions of rows, too
	},
	{prefix: "go.etcd.io/bbolt", owners: []string{"node/store"}},
	{prefix: "github.com/libp2p/", owners: []string{"federation/p2p"}},
	{prefix: "github.com/multiformats/", owners: []string{"federation/p2p"}},
	{prefix: "filippo.io/age", owners: []string{"node/backup", "node/store"}, testOwners: []string{"node"}},
	{prefix: "github.com/spf13/cobra", owners: []string{"cmd/carecircle"}},
	{prefix: "github.com/go-webauthn/", owners: []string{"node/auth"}, inEveryTest: true},
	{prefix: "golang.org/x/crypto/argon2", owners: []string{"node/vault"}},
	{prefix: "golang.org/x/term", owners: []string{"cmd/carecircle"}},
	{prefix: "github.com/prometheus/", owners: []string{"node/metrics", "federation/p2p"}},
	{prefix: "github.com/coreos/go-systemd/", owners: []string{"cmd/carecircle"}},
	{prefix: "github.com/evanw/esbuild", owners: []string{"node/web"}},
	{prefix: "github.com/anishathalye/porcupine", testOwners: []string{"cmd/carecircle"}},
	{prefix: "github.com/golang/geo", owners: []string{"node/finder"}},
	{prefix: "github.com/RoaringBitmap/", owners: []string{"node/finder"}},
	{prefix: "gonum.org/v1/gonum", testOwners: []string{"federation/clearing"}},
	{prefix: "github.com/chromedp/", testOwners: []string{"node/web", "cmd/carecircle"}},
}

// checkOwners reports imports of a library by anyone but its owners.
func checkOwners(t *tree) []finding {
	var found []finding
	for _, f := range t.goFiles() {
		for _, spec := range f.syntax.Imports {
			p := importPath(spec)
			at := slices.IndexFunc(libraries, func(l library) bool { return strings.HasPrefix(p, l.prefix) })
			if at < 0 || libraries[at].openTo(f) {
				continue
			}
			found = append(found, finding{
				path: f.path, line: t.line(spec.Pos()),
				text: fmt.Sprintf("%s may be imported only by %s", p, libraries[at].who()),
			})
		}
	}
	return found
}

func (l library) openTo(f *file) bool {
	part := partOf(f.dir())
	return slices.Contains(l.owners, part) ||
		f.isTest() && (l.inEveryTest || slices.Contains(l.testOwners, part))
}

func (l library) who() string {
	who := strings.Join(l.owners, ", ")
	if len(l.testOwners) > 0 {
		if who != "" {
			who += ", "
		}
		who += "the tests of " + strings.Join(l.testOwners, ", ")
	}
	return who
}
