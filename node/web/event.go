package web

import (
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// event is one line of what happened lately.
type event struct{ Icon, Text, Who, When, WhenISO string }

// names finds what accounts that are not people's are called.
type names struct {
	me        string
	overview  coin.Overview
	alliances exchange.Alliances
}

// of names a person or account in an event; people as far as the reader may know them.
func (n names) of(id, name string) string {
	switch id {
	case n.me:
		return "you"
	case machine.ActorOperator:
		return "whoever runs our computer"
	}
	for _, a := range n.overview.Accounts {
		if a.Account == id {
			return a.Name
		}
	}
	for _, a := range n.alliances.Alliances {
		if circleAccount(a.Circle) == id {
			return a.Name
		}
	}
	return orElse(name, "a member")
}

func (p *Pages) events(v *visit, overview coin.Overview, known exchange.Alliances) ([]event, error) {
	got, err := ask[member.Events](v, v.self(), "member.events", nil)
	if err != nil {
		return nil, err
	}
	called := names{me: v.by.Actor, overview: overview, alliances: known}
	out := []event{}
	for _, e := range got.Events {
		icon, text := eventWords(called, e)
		if text == "" || len(out) == eventsShown {
			continue
		}
		out = append(out, event{
			Icon: icon, Text: upperFirst(text), When: p.when(e.At),
			WhenISO: time.UnixMilli(e.At).UTC().Format(time.RFC3339),
		})
	}
	return out, nil
}

// eventWords puts an event in words, with the name of an icon. An event of a kind that is new to the pages
// is left out.
func eventWords(n names, e member.Happened) (icon, text string) {
	subject, object := n.of(e.Subject, e.SubjectName), n.of(e.Object, e.ObjectName)
	amount := coins(e.Minutes)
	switch {
	case strings.HasPrefix(e.Kind, "exchange."):
		return exchangeWords(n, e)
	case strings.HasPrefix(e.Kind, "joining."):
		return joiningWords(e)
	case strings.HasPrefix(e.Kind, "coin."):
		return coinWords(e, subject, object, amount)
	}
	switch e.Kind {
	case "circle.founded":
		return "circle", "our circle began"
	case "member.left":
		return "door", "someone left our circle, and what was kept about them is erased"
	case "member.looked":
		return "warning", object + " read what is kept about " + subject
	case "member.joined":
		return "door", subject + " joined our circle"
	case "member.hat-granted":
		return "person", subject + has(subject) + " a new hat: " + orElse(hatWords[e.Words], e.Words)
	case "member.acting-allowed":
		return "people", object + " may act for " + subject + " now"
	case "timeline.opened":
		return "book", "our books were put back from a backup, " + orElse(e.Words, "without a reason given") +
			". What was entered after that backup has to be entered again"
	case "member.link-made":
		return "key", "a sign-in link was made for " + subject + " by " + object
	}
	return "", ""
}

// has is the verb that goes with a name or with "you".
func has(who string) string {
	if who == "you" {
		return " have"
	}
	return " has"
}

func coinWords(e member.Happened, subject, object, amount string) (icon, text string) {
	switch e.Kind {
	case "coin.policy-set":
		return "book", "our coin policy was set: " + orElse(e.Words, "as decided")
	case "coin.earned":
		return iconOf(e.Words), subject + " gave " + hours(e.Minutes) + " to the group: " + e.Words
	case "coin.autogift-failed":
		return "warning", "your standing gift of " + amount + " could not be made. " + e.Words
	case "coin.paid":
		return iconOf(e.Words), subject + " thanked " + object + " with " + amount + " for " + e.Words
	case "coin.given":
		return "gift", subject + " gave " + amount + " to " + object
	case "coin.welcomed":
		return "door", subject + has(subject) + " been welcomed with " + amount + " from the pool"
	case "coin.imported":
		return "tick", amount + " were entered from another book: " + e.Words
	case "coin.frozen":
		return "warning", "the account of " + subject + " was stopped" + because(e.Words)
	case "coin.unfrozen":
		return "tick", "the account of " + subject + " is open again" + because(e.Words)
	case "coin.reversed":
		return "tick", amount + " went back from " + subject + " to " + object + because(e.Words)
	}
	return "", ""
}

// because adds a reason where an event has one; those of today keep it where only its reader finds it.
func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func joiningWords(e member.Happened) (icon, text string) {
	switch e.Kind {
	case "joining.joined":
		return "link", "the circle " + e.Words + " joined our federation"
	case "joining.taken":
		return "link", "our circle joined the federation of " + e.Words
	case "joining.refused":
		return "warning", e.Words + " did not take our circle into its federation"
	case "joining.closed":
		return "door", "the circle " + e.Words + " left our federation"
	case "joining.paused":
		return "clock", "the circle " + e.Words + " pauses"
	case "joining.giving":
		return "circle", "the circle " + e.Words + " gives support"
	}
	return "", ""
}

func exchangeWords(n names, e member.Happened) (icon, text string) {
	other, amount := n.of(e.Object, e.ObjectName), coins(e.Minutes)
	switch e.Kind {
	case "exchange.met":
		return "link", "we got to know the circle " + e.Words
	case "exchange.allied":
		return "link", "we exchange coins with " + e.Words + " now, up to " + amount + " either way"
	case "exchange.frozen":
		return "warning", "exchange with " + e.Words + " is stopped until people have looked at it"
	case "exchange.proposed":
		return "clock", "you sent " + amount + " to " + other + ". Waiting for " + other + " to answer"
	case "exchange.settled":
		return "tick", other + " said yes: your " + amount + " arrived"
	case "exchange.returned":
		return "arrow", "your " + amount + " came back from " + other + ". " +
			strings.TrimSuffix(orElse(reasonWords[e.Words], "It did not take them."), ".")
	case "exchange.received":
		return "gift", "you were given " + amount + " by someone in " + other
	case "exchange.late":
		return "clock", other + " has not answered in time. Your " + amount +
			" stay set aside, and we called them back"
	case "exchange.asking":
		return "clock", other + " has not answered for a long time. The hub is asked to decide about your " +
			amount
	}
	return "", ""
}
