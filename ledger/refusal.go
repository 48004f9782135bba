package ledger

import "fmt"

// Code says why a request was refused. The words are kept for ever; new ones are added, none is changed.
type Code string

// Every code.
const (
	CodeAccountClosed   Code = "account_closed"
	CodeAccountExists   Code = "account_exists"
	CodeAccountFrozen   Code = "account_frozen"
	CodeAccountUnknown  Code = "account_unknown"
	CodeAlreadyReversed Code = "already_reversed"
	CodeAmountZero      Code = "amount_zero"
	CodeBadLimits       Code = "bad_limits"
	CodeBadName         Code = "bad_name"
	CodeBadReason       Code = "bad_reason"
	CodeBadRef          Code = "bad_ref"
	CodeBadState        Code = "bad_state"
	CodeBadTime         Code = "bad_time"
	CodeBalanceNotZero  Code = "balance_not_zero"
	CodeCeilingPassed   Code = "ceiling_passed"
	CodeExceedsHold     Code = "exceeds_hold"
	CodeFloorPassed     Code = "floor_passed"
	CodeGroupEmpty      Code = "group_empty"
	CodeGroupMixed      Code = "group_mixed"
	CodeGroupTooLarge   Code = "group_too_large"
	CodeHoldEnded       Code = "hold_ended"
	CodeHoldUnknown     Code = "hold_unknown"
	CodeIDMissing       Code = "id_missing"
	CodeIDReused        Code = "id_reused"
	CodeKindFixed       Code = "kind_fixed"
	CodeLegsMissing     Code = "legs_missing"
	CodeLegsUnwanted    Code = "legs_unwanted"
	CodeLinkUnwanted    Code = "link_unwanted"
	CodeNotReversible   Code = "not_reversible"
	CodeOpUnknown       Code = "op_unknown"
	CodeOverflow        Code = "overflow"
	CodeSameAccount     Code = "same_account"
	CodeTooManyLegs     Code = "too_many_legs"
	CodeTransferUnknown Code = "transfer_unknown"
	CodeUnbalanced      Code = "unbalanced"
	CodeWrongBook       Code = "wrong_book"
)

// Codes lists every code in alphabetical order.
var Codes = []Code{
	CodeAccountClosed, CodeAccountExists, CodeAccountFrozen, CodeAccountUnknown, CodeAlreadyReversed,
	CodeAmountZero, CodeBadLimits, CodeBadName, CodeBadReason, CodeBadRef, CodeBadState, CodeBadTime,
	CodeBalanceNotZero, CodeCeilingPassed, CodeExceedsHold, CodeFloorPassed, CodeGroupEmpty, CodeGroupMixed,
	CodeGroupTooLarge, CodeHoldEnded, CodeHoldUnknown, CodeIDMissing, CodeIDReused, CodeKindFixed,
	CodeLegsMissing, CodeLegsUnwanted, CodeLinkUnwanted, CodeNotReversible, CodeOpUnknown, CodeOverflow,
	CodeSameAccount, CodeTooManyLegs, CodeTransferUnknown, CodeUnbalanced, CodeWrongBook,
}

// Refusal is an answer, not a failure: the request was understood, and nothing changed. It is an error whose
// message says in plain English what to do.
type Refusal struct {
	Code    Code   `json:"code"`
	Index   int    `json:"index"` // which transfer of the group, from 0; -1 when it is none of them
	Account string `json:"account,omitempty"`
	Message string `json:"message"`
	Have    int64  `json:"have,omitempty"`  // floor, ceiling: what the account has before, holds counted
	Limit   int64  `json:"limit,omitempty"` // floor, ceiling, hold, size of a group: what must not be passed
	Want    int64  `json:"want,omitempty"`  // what was asked for, without its sign
}

// Error is the code and the message.
func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Message }

func refuse(code Code, account, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Index: -1, Account: account, Message: fmt.Sprintf(format, args...)}
}

func unknownAccount(book, id string) error { return unknown(book, id) }

func unknown(book, id string) *Refusal {
	return refuse(CodeAccountUnknown, id, "there is no account %s in book %s; open it first", id, book)
}

func badName(what, name string, maxBytes int) error {
	return refuse(CodeBadName, "",
		"%s %.40q will not do; use 1 to %d letters, digits or signs, without spaces", what, name, maxBytes)
}

func checkTime(at int64) error {
	if at < 0 || at > MaxTime {
		return refuse(CodeBadTime, "",
			"time %d will not do; give milliseconds since 1970, up to the year 9999", at)
	}
	return nil
}

// goodName allows printable ASCII without the space, so that names sort the same everywhere and fit any key.
func goodName(name string, maxBytes int) bool {
	if name == "" || len(name) > maxBytes {
		return false
	}
	return printable(name)
}

func printable(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
