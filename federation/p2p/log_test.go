package p2p

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/gologshim"
)

// TestLogTo passes libp2p's warnings on and leaves out its chatter.
func TestLogTo(t *testing.T) {
	var out bytes.Buffer
	LogTo(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	defer gologshim.SetDefaultHandler(slog.DiscardHandler)
	log := gologshim.Logger("letters").With("more", 1).WithGroup("in")
	log.Info("chatter")
	log.Warn("a warning", "peer", "x")
	text := out.String()
	if strings.Contains(text, "chatter") || !strings.Contains(text, `"msg":"a warning"`) ||
		!strings.Contains(text, `"logger":"letters"`) {
		t.Errorf("logged %s", text)
	}
}
