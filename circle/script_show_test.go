package circle_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/datadriven"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
	"github.com/carecircle/carecircle/ledger"
)

// show prints what one view, or the book, says.
func (s *story) show(d *datadriven.TestData) string {
	w := s.town(word(d, 0))
	by := value(d, "by")
	switch d.Cmd {
	case "balances":
		return s.balances(w)
	case "alliances":
		var out []string
		for _, a := range view[exchange.Alliances](w, "operator", "exchange.alliances", nil).Alliances {
			line := fmt.Sprintf("%s: %s, limit %s, at %s, held %s, %d waiting, sent %d, got %d",
				a.Name, a.State, coin.Coins(a.LimitMinutes), coin.Coins(a.Minutes), coin.Coins(a.HeldMinutes),
				a.Waiting, a.Sent, a.Got)
			if a.Why != "" {
				line += ", stopped because: " + a.Why
			}
			out = append(out, line)
		}
		return strings.Join(out, "\n")
	case "payments":
		var out []string
		for _, p := range view[exchange.Payments](w, by, "exchange.payments", nil).Payments {
			way := "to"
			if p.Incoming {
				way = "from"
			}
			line := fmt.Sprintf("%s %s %s: %s %s", coin.Coins(p.Minutes), way, p.Name, p.State, p.Reason)
			out = append(out, strings.TrimSpace(line))
		}
		return strings.Join(out, "\n")
	case "statement":
		return s.statement(w, d)
	case "journey":
		return s.journey(w, by)
	case "epochs":
		var out []string
		for _, e := range view[timeline.Epochs](w, by, "timeline.epochs", nil).Epochs {
			out = append(out, fmt.Sprintf("epoch %d after command %d: %s", e.Epoch, e.FromPosition, e.Why))
		}
		return strings.Join(out, "\n")
	case "events":
		var out []string
		for _, e := range view[member.Events](w, by, "member.events", nil).Events {
			line := fmt.Sprintf("%s subject=%q object=%q words=%q",
				e.Kind, e.SubjectName, e.ObjectName, e.Words)
			if e.Minutes != 0 {
				line += " " + coin.Coins(e.Minutes)
			}
			out = append(out, line)
		}
		slices.Reverse(out)
		return strings.Join(out, "\n")
	default:
		people := view[member.People](w, by, "member.list", nil)
		var out []string
		for _, p := range people.People {
			out = append(out, strings.TrimSpace(p.Name+" "+strings.Join(p.Hats, " ")))
		}
		slices.Sort(out)
		return strings.Join(append(out, fmt.Sprintf("and %d others", people.Others)), "\n")
	}
}

func (s *story) balances(w *town) string {
	var out []string
	coin.ReadBooks(w.kv).Accounts(coin.Book, func(a ledger.Account) bool {
		line := strings.TrimPrefix(s.names(a.ID), "@") + ": " + coin.Coins(a.Posted)
		if a.HeldOut != 0 {
			line += ", " + coin.Coins(a.HeldOut) + " held to go out"
		}
		if a.HeldIn != 0 {
			line += ", " + coin.Coins(a.HeldIn) + " held to come in"
		}
		if a.State == ledger.StateFrozen {
			line += ", frozen"
		}
		out = append(out, line)
		return true
	})
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (s *story) statement(w *town, d *datadriven.TestData) string {
	of := call{s: s, w: w}.named(value(d, "of"))
	set := func(q any) error { q.(*coin.StatementQuery).Account = of; return nil }
	var out []string
	for _, l := range view[coin.Statement](w, value(d, "by"), "coin.statement", set).Lines {
		line := fmt.Sprintf("%s %s %s", coin.Coins(l.Change), l.Reason, l.OtherName)
		for _, extra := range []string{l.Activity, l.Place, l.Note} {
			if extra != "" {
				line += ", " + extra
			}
		}
		if l.Picture {
			line += ", with a picture"
		}
		if l.Undone {
			line += ", undone"
		}
		out = append(out, line+": "+coin.Coins(l.Balance))
	}
	return strings.Join(out, "\n")
}

func (s *story) journey(w *town, by string) string {
	j := view[coin.Journey](w, by, "coin.journey", nil)
	var out []string
	for i, lots := range [][]coin.Lot{j.Held, j.Passed} {
		for _, l := range lots {
			line := []string{"holds ", "passed on "}[i] + coin.Coins(l.Minutes) + ":"
			for _, st := range l.Steps {
				line += " " + st.Reason
				if st.Activity != "" {
					line += " (" + st.Activity + ")"
				}
				if st.Who != "" {
					line += " by " + st.Who
				}
				if st.To != "" {
					line += " to " + st.To
				}
				if st.Note != "" || st.Alt != "" {
					line += fmt.Sprintf(" with %q", st.Note+st.Alt)
				}
				line += ";"
			}
			out = append(out, strings.TrimSuffix(line, ";"))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// forged changes a letter on its way as the script asks: forge=signature, forge=sender (signed by the circle,
// but from another), forge=kind, forge=other (another letter signed for the same place), forge=chain (one
// that does not follow the one before), forge=repropose (the same offer once more, at the end of the stream),
// forge=reject (taking back an ACCEPT, at the end of the stream).
func (s *story) forged(d *datadriven.TestData, from, to *town, signed letter.Signed) letter.Signed {
	how := value(d, "forge")
	if how == "" {
		return signed
	}
	r, err := letter.Decode(signed.Bytes)
	if err != nil {
		s.t.Fatal(err)
	}
	switch how {
	case "signature":
		seed := sha256.Sum256([]byte("somebody else"))
		return letter.Sign(ed25519.NewKeyFromSeed(seed[:]), signed.Bytes)
	case "bytes":
		signed.Bytes = slices.Clone(signed.Bytes)
		signed.Bytes[len(signed.Bytes)/2] ^= 1
		return signed
	case "sender":
		r.From = letter.CircleIDOf([]byte("another circle"))
	case "kind":
		return letter.Sign(from.key, reEncode(s.t, r, 99))
	case "end":
		r.Kind, r.Body = letter.End, nil
	case "other":
		r.At++
	case "chain":
		r.Prev[0]++
	case "repropose", "reject":
		s.atTheEnd(from, to, &r, how)
	case "again":
		r.At++
		r.Seq--
	default:
		s.t.Fatalf("there is no forgery %q", how)
	}
	raw, err := r.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	return letter.Sign(from.key, raw)
}

// atTheEnd makes a record that follows the last one of from's stream, as a dishonest circle could.
func (s *story) atTheEnd(from, to *town, r *letter.Record, how string) {
	stream := exchange.Outbox(from.kv, to.id, 1, 1<<40)
	r.Seq, r.Prev = uint64(len(stream)+1), letter.HashOf(stream[len(stream)-1])
	if how == "repropose" {
		return
	}
	accept, err := payment.DecodeAccept(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Kind = letter.Reject
	r.Body, err = payment.RejectBody{
		TID: accept.TID, Reason: payment.ReasonExpired, Propose: letter.HashOf(accept.Propose.Bytes),
	}.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
}

// reEncode writes a record with a kind that this version does not know.
func reEncode(t tester, r letter.Record, kind uint16) []byte {
	r.Kind = letter.Kind(kind)
	raw, err := letter.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
