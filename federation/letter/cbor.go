package letter

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Bounds given to the decoder, so that a few bytes cannot ask for much memory or depth.
const (
	maxNesting  = 8
	maxElements = 1024
	maxPairs    = 32
)

var (
	encoding = newEncoding()
	decoding = newDecoding(cbor.ExtraDecErrorUnknownField)
	peeking  = newDecoding(cbor.ExtraDecErrorNone)
)

func newEncoding() cbor.EncMode {
	options := cbor.CoreDetEncOptions()
	options.TagsMd = cbor.TagsForbidden
	// One encoding of "no bytes": nil and empty must not differ on the wire.
	options.NilContainers = cbor.NilContainerAsEmpty
	mode, err := options.EncMode()
	if err != nil {
		panic("letter: the encoder's options are wrong: " + err.Error())
	}
	return mode
}

func newDecoding(unknown cbor.ExtraDecErrorCond) cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxPairs,
		ExtraReturnErrors: unknown,
	}.DecMode()
	if err != nil {
		panic("letter: the decoder's options are wrong: " + err.Error())
	}
	return mode
}

// Marshal returns the one canonical encoding of v (CBOR, Core Deterministic). Everything that circles
// exchange is written with it. v's struct fields carry "keyasint" tags.
func Marshal(v any) ([]byte, error) {
	b, err := encoding.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return b, nil
}

// Unmarshal reads into v, a pointer to a zero value, what Marshal wrote. It refuses more than limit bytes
// (ErrTooLarge) and every other encoding of the same value (ErrMalformed).
func Unmarshal(b []byte, limit int, v any) error {
	if len(b) > limit {
		return fmt.Errorf("%d bytes, at most %d: %w", len(b), limit, ErrTooLarge)
	}
	if err := decoding.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(b, again) {
		return fmt.Errorf("not the canonical encoding: %w", ErrMalformed)
	}
	return nil
}

// CheckVersion looks only at what CBOR key 1 of b says, so that what a later version wrote is called
// ErrVersion and not malformed. The other errors are ErrTooLarge and ErrMalformed.
func CheckVersion(b []byte, limit int, want uint8) error {
	if len(b) > limit {
		return fmt.Errorf("%d bytes, at most %d: %w", len(b), limit, ErrTooLarge)
	}
	var head struct {
		Version uint64 `cbor:"1,keyasint"`
	}
	if err := peeking.Unmarshal(b, &head); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if head.Version != uint64(want) {
		return fmt.Errorf("version %d, this circle reads %d: %w", head.Version, want, ErrVersion)
	}
	return nil
}
