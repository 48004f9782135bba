package machine

import (
	"errors"
	"fmt"
)

// Error is a refusal: a code for programs, a sentence for people that says what to do, and, where a policy
// decided, the decision that set it. A refused command changed nothing.
type Error struct {
	_       struct{} `cbor:",toarray"`
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Because string   `json:"because,omitempty"`
	later   bool     // see Later
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Refuse makes an Error. Codes are append-only: see circle/testdata/codes.golden.
func Refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Later makes a refusal for the time being, which is not remembered: the same request asked again is decided
// anew. Others are answered the same for ever.
func Later(code, format string, args ...any) *Error {
	e := Refuse(code, format, args...)
	e.later = true
	return e
}

// AsError returns err's refusal; any other error becomes code "refused" with its own text.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var coded interface{ Refusal() (code, message string) }
	if errors.As(err, &coded) {
		code, message := coded.Refusal()
		return Refuse(code, "%s", message)
	}
	return Refuse("refused", "%v", err)
}
