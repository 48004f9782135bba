package ledger

import "unicode/utf8"

// Leg is one account's part of a transfer. A negative change leaves the account, a positive one reaches it;
// the changes of a transfer sum to zero.
type Leg struct {
	Account string `cbor:"1,keyasint" json:"account"`
	Change  int64  `cbor:"2,keyasint" json:"change"`
}

// Transfer asks for one movement within one book.
//
//   - OpPost moves Legs now.
//   - OpHold reserves Legs: outgoing ones add to HeldOut, incoming ones to HeldIn.
//   - OpSettle carries out the hold Of: wholly if Legs is empty, else just Legs, each the way it was held
//     and at most as much. The rest is released, and the hold has ended.
//   - OpVoid releases the hold Of.
//   - OpReverse posts the exact opposite of the post or settle Of, once at most, within the limits of a post.
type Transfer struct {
	ID        ID     `cbor:"1,keyasint" json:"id"`
	Op        Op     `cbor:"2,keyasint" json:"op"`
	Book      string `cbor:"3,keyasint" json:"book"`
	Legs      []Leg  `cbor:"4,keyasint,omitempty" json:"legs,omitempty"`
	Of        ID     `cbor:"5,keyasint" json:"of,omitzero"`
	Effective int64  `cbor:"6,keyasint,omitempty" json:"effective,omitempty"` // unix ms; 0 is when recorded
	Reason    string `cbor:"7,keyasint,omitempty" json:"reason,omitempty"`    // a short code of the caller's
	Ref       string `cbor:"8,keyasint,omitempty" json:"ref,omitempty"`       // opaque UTF-8 text
}

// Receipt says that a transfer is recorded, and whether it already was.
type Receipt struct {
	ID       ID     `json:"id"`
	Seq      uint64 `json:"seq"`
	Recorded int64  `json:"recorded"` // unix ms
	Repeated bool   `json:"repeated,omitempty"`
}

// checkTransfer checks all that can be known without looking at the books.
func checkTransfer(t Transfer) error {
	if t.ID.IsZero() {
		return refuse(CodeIDMissing, "", "the transfer has no id; choose one, and keep it for a repeat")
	}
	if t.Op < OpPost || t.Op > OpReverse {
		return noTransfer(t.Op)
	}
	if !goodName(t.Book, MaxNameBytes) {
		return badName("book", t.Book, MaxNameBytes)
	}
	if len(t.Reason) > MaxReasonBytes || !printable(t.Reason) {
		return refuse(CodeBadReason, "",
			"reason %.40q will not do; use at most %d letters, digits or signs, without spaces",
			t.Reason, MaxReasonBytes)
	}
	if len(t.Ref) > MaxRefBytes || !utf8.ValidString(t.Ref) {
		return refuse(CodeBadRef, "", "the reference is %d bytes; use at most %d bytes of UTF-8 text",
			len(t.Ref), MaxRefBytes)
	}
	if err := checkTime(t.Effective); err != nil {
		return err
	}
	return checkParts(t)
}

func noTransfer(op Op) error {
	return refuse(CodeOpUnknown, "", "%s moves nothing; say post, hold, settle, void or reverse", op)
}

// checkParts checks that the transfer has the link and the legs its kind wants.
func checkParts(t Transfer) error {
	starts := t.Op == OpPost || t.Op == OpHold
	switch {
	case starts && !t.Of.IsZero():
		return refuse(CodeLinkUnwanted, "", "a %s stands alone; leave out what it is of", t.Op)
	case starts && len(t.Legs) == 0:
		return refuse(CodeLegsMissing, "", "the %s has no legs; say which accounts it changes", t.Op)
	case (t.Op == OpVoid || t.Op == OpReverse) && len(t.Legs) > 0:
		return refuse(CodeLegsUnwanted, "", "a %s always takes the whole; leave out the legs", t.Op)
	}
	return checkLegs(t.Legs)
}

func checkLegs(legs []Leg) error {
	if len(legs) > MaxLegs {
		r := refuse(CodeTooManyLegs, "",
			"the transfer has %d legs; use at most %d, or several transfers in a group", len(legs), MaxLegs)
		r.Limit, r.Want = MaxLegs, int64(len(legs))
		return r
	}
	var in, out int64
	for i, leg := range legs {
		if !goodName(leg.Account, MaxIDBytes) {
			return badName("account id", leg.Account, MaxIDBytes)
		}
		if leg.Change == 0 {
			return refuse(CodeAmountZero, leg.Account, "the leg of %s is zero; leave it out", leg.Account)
		}
		for _, other := range legs[:i] {
			if other.Account == leg.Account {
				return refuse(CodeSameAccount, leg.Account, "%s has two legs; make them one", leg.Account)
			}
		}
		if leg.Change > 0 {
			in = add(in, leg.Change)
		} else {
			out = add(out, leg.Change)
		}
		if in == Unlimited || out == -Unlimited {
			return refuse(CodeOverflow, leg.Account,
				"the leg of %s takes the whole to %d or beyond; move less", leg.Account, Unlimited)
		}
	}
	if in != -out {
		r := refuse(CodeUnbalanced, "", "%d leaves and %d arrives; make them equal", -out, in)
		r.Have, r.Want = -out, in
		return r
	}
	return nil
}

// out and in split a change into what leaves and what reaches an account; neither is negative.
func (l Leg) out() int64 { return max(-l.Change, 0) }
func (l Leg) in() int64  { return max(l.Change, 0) }
