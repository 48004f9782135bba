package export

import (
	"bufio"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/letter"
)

// logFormat names the layout of an exported log. It is JSON lines: a header, one line a command, and an end
// signed with the circle's key. Each line has exactly one spelling.
const logFormat = "carecircle log v1"

type header struct {
	Format string `json:"format"`
	Circle string `json:"circle"`
	Name   string `json:"name"`
	Key    []byte `json:"key"` // the circle's public key, whose hash is the circle's id
}

type line struct {
	N     uint64       `json:"n"`     // from 1
	Entry []byte       `json:"entry"` // the command's exact bytes
	Head  machine.Hash `json:"head"`  // the hash chain after it
}

type ending struct {
	End       uint64       `json:"end"` // commands in the file
	Head      machine.Hash `json:"head"`
	Signature []byte       `json:"signature"` // over the header's line and the head
}

func signedPart(h []byte, e ending) []byte {
	return fmt.Appendf(nil, "%s\n%d\n%s\n", h, e.End, e.Head)
}

func writeLog(w *bufio.Writer, from Source, key ed25519.PrivateKey) error {
	var h header
	err := from.Read(func(r machine.Reader) error {
		c, ok := member.TheCircle(r)
		if !ok {
			return machine.Refuse("not_founded", "There is no circle here yet.")
		}
		h = header{Format: logFormat, Circle: c.ID, Name: c.Name, Key: c.Key}
		return nil
	})
	if err != nil {
		return err
	}
	first, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := writeLine(w, h); err != nil {
		return err
	}
	var e ending
	for more := true; more; {
		var lines []line
		err := from.Read(func(r machine.Reader) error {
			lines, more = readLog(r, e)
			return nil
		})
		if err != nil {
			return err
		}
		for _, l := range lines {
			if err := writeLine(w, l); err != nil {
				return err
			}
			e.End, e.Head = l.N, l.Head
		}
	}
	e.Signature = letter.ForLog.Sign(key, signedPart(first, e))
	return writeLine(w, e)
}

func readLog(r machine.Reader, e ending) (lines []line, more bool) {
	machine.Journal(r, e.End+1, func(n uint64, raw []byte) bool {
		e.Head = machine.ChainHash(e.Head, raw)
		lines = append(lines, line{N: n, Entry: append([]byte{}, raw...), Head: e.Head})
		return len(lines) < chunk
	})
	return lines, len(lines) == chunk
}

func writeLine(w io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(raw, '\n'))
	return err
}
