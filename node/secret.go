package node

import (
	"fmt"
	"log/slog"
)

const redacted = "(secret)"

// Format implements fmt.Formatter.
func (Keys) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue implements slog.LogValuer.
func (Keys) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler: JSON does not show them either.
func (Keys) MarshalText() ([]byte, error) { return []byte(redacted), nil }
