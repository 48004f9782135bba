package payment

// Rule is one of the rules that keep payments exact, as the simulation switches them off one by one, to see
// that somebody notices. In use none ever is.
type Rule uint8

// The rules that can be switched off.
const (
	NoRule          Rule = iota
	PayeeDecides         // only the payee decides; else coins come back at the expiry
	DuplicateOnce        // a PROPOSE that comes again changes nothing; else it is credited again
	ReceiptAtOnce        // the receipt is in the same log entry as the credit; else in a later one
	FreshFirst           // nothing is written or taken before the peer said how much it holds
	ReplayOwn            // what the peer holds of ours and we forgot is replayed; else it is jumped over
	SessionBound         // letters count only in the session they were sent in
	ReceiptTellsAll      // an ACCEPT of a forgotten payment brings it back; else it is passed over
	HubDecides           // once the hub is asked, only its verdict counts
	VerdictInStream      // a verdict is passed on to the other side
	FirstVerdict         // the hub never changes a verdict
	AnswersFirst         // the hub is not asked before what the peer has answered was heard again
)

// Protocol is the payment protocol, with at most one rule off. The zero Protocol is the one in use.
type Protocol struct{ Off Rule }
