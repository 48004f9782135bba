package web

import (
	"testing"
	"time"
)

func TestMinutesOf(t *testing.T) {
	good := map[string]int64{
		"2": 120, "1.5": 90, "0,25": 15, ".5": 30, "0.1": 6, "1:30": 90, "0:05": 5, "2 coins": 120,
		"1 coin": 60,
		"1 hour": 60, "1h 30m": 90, "1 hour and 20 minutes": 80, "45 min": 45, "90 minutes": 90, " 3 ": 180,
		"1.25h": 75, "002": 120, "1.0000": 60,
	}
	for text, want := range good {
		if got, sentence := minutesOf(text); got != want || sentence != "" {
			t.Errorf("%q: %d minutes (%s), want %d", text, got, sentence, want)
		}
	}
	for _, text := range []string{
		"", "0", "0:00", "-1", "1.33", "0.001", "two", "1:60", "1e3", "Inf", "1.2.3", "1 000", "٣",
		"99999999", "h", ".",
		"1.5.", "1/2", "+1", "<b>", "0x10",
	} {
		if got, sentence := minutesOf(text); sentence == "" {
			t.Errorf("%q was taken for %d minutes", text, got)
		}
	}
}

func TestWordsForAmounts(t *testing.T) {
	for minutes, want := range map[int64]string{
		60: "1 coin", -60: "−1 coin", 90: "1.5 coins", -75: "−1.25 coins", 20: "0.33 coins", 0: "0 coins",
	} {
		if got := coins(minutes); got != want {
			t.Errorf("coins(%d) is %q, want %q", minutes, got, want)
		}
	}
	for minutes, want := range map[int64]string{
		60: "1 hour", 80: "1 hour and 20 minutes", -120: "2 hours", 1: "1 minute", 0: "0 hours",
	} {
		if got := hours(minutes); got != want {
			t.Errorf("hours(%d) is %q, want %q", minutes, got, want)
		}
	}
	if got := len(pips(150)); got != 3 {
		t.Errorf("2.5 coins are drawn as %d", got)
	}
}

func TestDays(t *testing.T) {
	// Just after midnight in summer: in London it is an hour later than in UTC, and a new day.
	p := &Pages{cfg: Config{Now: func() time.Time { return time.Date(2026, 7, 1, 23, 30, 0, 0, time.UTC) }}}
	at := func(year int, month time.Month, day, hour int) int64 {
		return time.Date(year, month, day, hour, 0, 0, 0, time.UTC).UnixMilli()
	}
	for _, c := range []struct {
		at   int64
		want string
	}{
		{at(2026, 7, 1, 23), "today"},
		{at(2026, 7, 1, 22), "yesterday"},
		{at(2026, 6, 1, 12), "1 June"},
		{at(2025, 12, 24, 12), "24 December 2025"},
	} {
		if got := p.day(c.at); got != c.want {
			t.Errorf("%s is %q, want %q", time.UnixMilli(c.at).UTC(), got, c.want)
		}
	}
	if got := p.when(at(2026, 1, 5, 15)); got != "5 January at 15:00" {
		t.Errorf("in winter: %q", got)
	}
	if got := p.when(at(2026, 6, 5, 15)); got != "5 June at 16:00" {
		t.Errorf("in summer: %q", got)
	}
}

func TestOurPage(t *testing.T) {
	for next, want := range map[string]string{
		"/coins?a=1": "/coins?a=1", "": "", "//evil.example": "", "///evil.example": "",
		"https://evil.example/": "",
		"/\\evil.example":       "",
		"javascript:alert(1)":   "", "coins": "", "/a\r\nb": "",
	} {
		if got := ourPage(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
}

func TestKeepFor(t *testing.T) {
	const untouched = `<link href="/assets/app.css"><a href="#main">c</a><img src="/pictures/1">` +
		`<i title="href=&#34;/x&#34;">`
	page := `<a href="/coins#top">a</a><a href="/coins/journey?lot=1&amp;b=2">b</a>` +
		`<form action="/me"></form>` + untouched
	want := `<a href="/coins?for=p1#top">a</a><a href="/coins/journey?lot=1&amp;b=2&amp;for=p1">b</a>` +
		`<form action="/me?for=p1"></form>` +
		untouched
	if got := string(keepFor([]byte(page), "p1")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := string(keepFor([]byte(page), "")); got != page {
		t.Errorf("for nobody else the page changed: %s", got)
	}
}

func TestShortName(t *testing.T) {
	for name, want := range map[string]string{
		"Repair café": "repair-caf", "  The Hub's Garden! ": "the-hub-s-garden", "花": "place-b0a1eab5",
		"a very long name of a place that goes on and on": "a-very-long-name-of-a-place-that-goes-on",
	} {
		if got := shortName(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}
