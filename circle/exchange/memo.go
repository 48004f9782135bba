package exchange

import (
	"unicode/utf8"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// memo is what the payer tells the payee's side. It stands in a signed record that both circles keep for
// ever, so it is sealed under a key of this one payment, made from the payer's own: the key goes beside the
// record, is used once and kept by nobody, and cannot be made again once the payer is erased.
type memo struct {
	Scheme   uint8  `cbor:"1,keyasint"` // as of a machine.Private
	Activity string `cbor:"2,keyasint"`
	Note     string `cbor:"3,keyasint"`
	Sealed   []byte `cbor:"4,keyasint,omitempty"` // a whole memo in clear, under scheme 1
}

// Words are a memo opened at the receiving circle's edge, its note sealed again under the receiver's key.
type Words struct {
	Seq      uint64          `cbor:"1,keyasint"` // of the record it came in
	Activity string          `cbor:"2,keyasint"`
	Note     machine.Private `cbor:"3,keyasint"`
	// Self says to ourselves whom the coins went to, sealed, if they go to Person.
	Self   machine.Private `cbor:"4,keyasint,omitzero"`
	Person string          `cbor:"5,keyasint,omitempty"`
}

func (w Words) check() error {
	if err := w.Self.CheckSealed("note", MaxPersonBytes); err != nil {
		return err
	}
	if !letter.Readable(w.Activity, 400) {
		return machine.Refuse("malformed", "A memo that cannot be shown.")
	}
	return w.Note.CheckSealed("note", MaxNoteRunes*utf8.UTFMax)
}

// checkNote checks the note while it can be read, and its size once it is sealed.
func (p Pay) checkNote() error {
	if p.Note.IsSealed() {
		if len(p.Memo) == 0 || len(p.Memo) > payment.MaxMemoBytes {
			return machine.Refuse("bad_text", "The note is sealed in a way that this circle cannot send.")
		}
		return p.Note.CheckSealed("note", MaxNoteRunes*utf8.UTFMax)
	}
	note := p.Note.Clear()
	if utf8.RuneCountInString(note) > MaxNoteRunes || !utf8.ValidString(note) {
		return machine.Refuse("bad_text", "Say it in fewer words: at most %d letters.", MaxNoteRunes)
	}
	return nil
}

// memo returns the bytes that go to the other circle.
func (p Pay) memo() ([]byte, error) {
	if len(p.Memo) > 0 {
		return p.Memo, nil
	}
	return letter.Marshal(memo{Activity: p.Activity, Note: p.Note.Clear()})
}

// Sealed implements machine.Personal.
func (p Pay) Sealed(s machine.Sealing) (any, error) {
	if len(p.Memo) > 0 {
		return p, nil // sealed before
	}
	clear, err := p.memo()
	if err != nil {
		return nil, err
	}
	sealed, err := s.Letter(s.Person(), clear)
	if err != nil {
		return nil, err
	}
	p.Memo, err = letter.Marshal(memo{Scheme: machine.SchemeSealed, Sealed: sealed})
	if err != nil {
		return nil, err
	}
	p.Note, err = s.Under(s.Person(), "note", p.Note)
	if err != nil {
		return nil, err
	}
	p.Self, err = s.Under(machine.OfCircle, "self", machine.Text(machine.OfCircle, s.Person()))
	return p, err
}

// told returns what a memo says to a person here: in clear, or as it was opened at the edge. One that cannot
// be read must not stop the coins.
func told(raw []byte, person string, opened Words) (activity string, note machine.Private) {
	var m memo
	err := letter.Unmarshal(raw, payment.MaxMemoBytes, &m)
	switch {
	case err == nil && m.Scheme == machine.SchemeClear:
		return m.Activity, machine.Text(person, m.Note)
	case err == nil && m.Scheme == machine.SchemeSealed && opened.Note.Of == person:
		return opened.Activity, opened.Note
	default:
		return "", machine.Private{Of: person}
	}
}

// selfFor is the note to ourselves, if it was made for this person.
func (w Words) selfFor(person string) machine.Private {
	if w.Person != person {
		return machine.Private{}
	}
	return w.Self
}

func wordsFor(words []Words, seq uint64) Words {
	for _, w := range words {
		if w.Seq == seq {
			return w
		}
	}
	return Words{}
}

// SealedMemo is the sealed memo of a PROPOSE: which payment it belongs to, and for whom it is.
type SealedMemo struct {
	Seq     uint64
	Payment machine.ID
	Code    string // the receiving code of whom it is for
	Data    []byte
}

// MemoIn finds the sealed memo in a record's bytes; false where there is none.
func MemoIn(raw []byte) (SealedMemo, bool) {
	r, err := letter.Decode(raw)
	if err != nil || r.Kind != letter.Propose {
		return SealedMemo{}, false
	}
	body, err := payment.DecodePropose(r.Body)
	if err != nil {
		return SealedMemo{}, false
	}
	var m memo
	err = letter.Unmarshal(body.Memo, payment.MaxMemoBytes, &m)
	if err != nil || m.Scheme != machine.SchemeSealed {
		return SealedMemo{}, false
	}
	return SealedMemo{Seq: r.Seq, Payment: machine.ID(body.TID), Code: body.Alias, Data: m.Sealed}, true
}

// CodeIn finds whom a PROPOSE is for.
func CodeIn(raw []byte) (seq uint64, code string, ok bool) {
	r, err := letter.Decode(raw)
	if err != nil || r.Kind != letter.Propose {
		return 0, "", false
	}
	body, err := payment.DecodePropose(r.Body)
	return r.Seq, body.Alias, err == nil
}

// Tell returns what an opened memo says, as far as it can be shown.
func (m SealedMemo) Tell(opened []byte) (Words, bool) {
	var in memo
	err := letter.Unmarshal(opened, payment.MaxMemoBytes, &in)
	if err != nil || in.Scheme != machine.SchemeClear {
		return Words{}, false
	}
	p := Pay{Note: machine.Text("", in.Note)}
	if p.checkNote() != nil || !letter.Readable(in.Activity, 400) {
		return Words{}, false
	}
	return Words{Seq: m.Seq, Activity: in.Activity, Note: p.Note}, true
}

// Payer returns who here made a payment.
func Payer(r machine.Reader, to letter.CircleID, id machine.ID) (person string, ok bool) {
	pm, ok := payments.Get(r, ref{Peer: to, Side: payment.Payer, TID: payment.TID(id)}.key())
	return pm.Account, ok
}

// WhoHas returns the person behind a receiving code.
func WhoHas(r machine.Reader, code string) (person string, ok bool) {
	person, ok = codes.Get(r, machine.Key{}.Str(code))
	if ok {
		_, err := member.Known(r, person)
		ok = err == nil
	}
	return person, ok
}

// kept is what this feature keeps about a person.
func kept(rd machine.Read, person string) []machine.Kept {
	var out []machine.Kept
	if code, ok := codeOf.Get(rd, machine.Key{}.Str(person)); ok {
		out = append(out, machine.Kept{What: "receiving code", Words: code})
	}
	for _, r := range ofPerson.All(rd, machine.Key{}.Str(person), nil) {
		pm, _ := payments.Get(rd, r.key())
		peer, _ := peers.Get(rd, peerKey(r.Peer))
		out = append(out, machine.Kept{
			What: "payment with another circle", At: pm.At, Words: peer.Name + ", " + word(pm),
		})
	}
	return out
}
