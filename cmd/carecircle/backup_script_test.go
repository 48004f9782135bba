package main

import (
	"encoding/json"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/backup"
)

func scriptRecipients(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0] + "/config.json")
	var cfg node.Config
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(path)), &cfg))
	cfg.Backup = &backup.Config{}
	for _, file := range args[1:] {
		cfg.Backup.Recipients = append(cfg.Backup.Recipients, strings.TrimSpace(ts.ReadFile(file)))
	}
	raw, err := json.Marshal(cfg)
	ts.Check(err)
	ts.Check(os.WriteFile(path, raw, 0o644))
}

func scriptSpoil(ts *testscript.TestScript, _ bool, args []string) {
	raw := []byte(ts.ReadFile(args[0]))
	raw[len(raw)/2] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), raw, 0o600))
}
