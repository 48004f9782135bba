package web

import (
	"time"
	_ "time/tzdata" // the zones come with the program: a node's machine may have none
)

var london = func() *time.Location {
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		panic("the time zones built in are broken: " + err.Error())
	}
	return zone
}()

func (p *Pages) now() time.Time { return p.cfg.Now().In(london) }

func moment(unixMillis int64) time.Time { return time.UnixMilli(unixMillis).In(london) }

// day says on which day something was: today, yesterday, 3 November, 3 November 2024.
func (p *Pages) day(unixMillis int64) string {
	now, then := p.now(), moment(unixMillis)
	switch then.Format(time.DateOnly) {
	case now.Format(time.DateOnly):
		return "today"
	case now.AddDate(0, 0, -1).Format(time.DateOnly):
		return "yesterday"
	}
	if now.Year() == then.Year() {
		return then.Format("2 January")
	}
	return then.Format("2 January 2006")
}

// when is day with the time of day: today at 15:04.
func (p *Pages) when(unixMillis int64) string {
	return p.day(unixMillis) + " at " + moment(unixMillis).Format("15:04")
}

// iso is the day for programs.
func iso(unixMillis int64) string { return moment(unixMillis).Format(time.DateOnly) }

// ago says how long ago something was, roughly.
func (p *Pages) ago(unixMillis int64) string {
	passed := p.now().Sub(moment(unixMillis))
	switch {
	case passed < time.Minute:
		return "just now"
	case passed < time.Hour:
		return count(int64(passed/time.Minute), "minute") + " ago"
	case passed < 24*time.Hour:
		return count(int64(passed/time.Hour), "hour") + " ago"
	default:
		return count(int64(passed/(24*time.Hour)), "day") + " ago"
	}
}

// writtenDay puts a day such as 2026-09-30 in words; what is not one stays as it is.
func writtenDay(text string) string {
	d, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return text
	}
	return d.Format("2 January 2006")
}
