package finder

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/carecircle/carecircle/federation/letter"
)

// file keeps cards one behind the other: length, and card and signature sealed under a key of this machine
// (AES-256-GCM). One that no longer counts is written over with zeros, so that what a member took back is not
// left on the disk. All of it can be had again from other circles: a file with damage is thrown away.
type file struct {
	f    *os.File
	aead cipher.AEAD
	end  int64
	dead int64 // bytes of cards that no longer count
}

const (
	frame    = 4
	deadMark = 1 << 31
	maxEntry = 8 << 10
)

var errDamaged = errors.New("the file of cards is damaged")

// openFile reads the file at path and gives every card in it to take, with where it is.
func openFile(
	path string, aead cipher.AEAD, take func(s letter.Signed, offset int64, length uint32) error,
) (*file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	cards := &file{f: f, aead: aead}
	if err := cards.read(take); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return cards, nil
}

func (c *file) read(take func(s letter.Signed, offset int64, length uint32) error) error {
	r := bufio.NewReaderSize(c.f, 1<<20)
	var head [frame]byte
	buf := make([]byte, maxEntry)
	for {
		_, err := io.ReadFull(r, head[:])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("at %d: %w: %w", c.end, errDamaged, err)
		}
		length := binary.BigEndian.Uint32(head[:4])
		dead := length&deadMark != 0
		if length &^= deadMark; length > maxEntry {
			return fmt.Errorf("at %d: %w", c.end, errDamaged)
		}
		if _, err := io.ReadFull(r, buf[:length]); err != nil {
			return fmt.Errorf("at %d: %w: %w", c.end, errDamaged, err)
		}
		if dead {
			c.dead += frame + int64(length)
		} else {
			s, err := c.open(buf[:length], c.end)
			if err != nil {
				return fmt.Errorf("at %d: %w: %w", c.end, errDamaged, err)
			}
			if err := take(s, c.end, length); err != nil {
				return err
			}
		}
		c.end += frame + int64(length)
	}
}

// add writes a card at the end and returns where it is.
func (c *file) add(s letter.Signed) (offset int64, length uint32, err error) {
	b, err := letter.Marshal(s)
	if err != nil {
		return 0, 0, err
	}
	b = c.aead.Seal(nil, nil, b, mark(c.end))
	if len(b) > maxEntry {
		return 0, 0, fmt.Errorf("a card of %d bytes: %w", len(b), letter.ErrTooLarge)
	}
	entry := append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	if _, err := c.f.WriteAt(entry, c.end); err != nil {
		return 0, 0, err
	}
	offset = c.end
	c.end += int64(len(entry))
	return offset, uint32(len(b)), nil
}

// get reads a card.
func (c *file) get(offset int64, length uint32) (letter.Signed, error) {
	buf := make([]byte, length)
	if _, err := c.f.ReadAt(buf, offset+frame); err != nil {
		return letter.Signed{}, err
	}
	return c.open(buf, offset)
}

// open opens what add sealed for this place of the file.
func (c *file) open(sealed []byte, offset int64) (letter.Signed, error) {
	var s letter.Signed
	b, err := c.aead.Open(nil, nil, sealed, mark(offset))
	if err != nil {
		return s, err
	}
	return s, letter.Unmarshal(b, maxEntry, &s)
}

// mark is sealed with a card, so that none is taken for another.
func mark(offset int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(offset)) }

// sealing makes the cipher of a 32-byte key. It draws a nonce for every card.
func sealing(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// drop writes zeros over a card.
func (c *file) drop(offset int64, length uint32) error {
	entry := make([]byte, frame+int(length))
	binary.BigEndian.PutUint32(entry, length|deadMark)
	if _, err := c.f.WriteAt(entry, offset); err != nil {
		return err
	}
	c.dead += int64(len(entry))
	return nil
}

func (c *file) sync() error  { return c.f.Sync() }
func (c *file) close() error { return c.f.Close() }
