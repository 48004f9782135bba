package web

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/carecircle/carecircle/circle/coin"
)

const minutesPerCoin = 60

var (
	typedCoins = regexp.MustCompile(`^([0-9]{1,6})?(?:[.,]([0-9]{1,4}))?(?: ?(?:coins?|hours?|h))?$`)
	typedClock = regexp.MustCompile(`^([0-9]{1,6}):([0-5][0-9])$`)
	typedHours = regexp.MustCompile(`^(?:([0-9]{1,6}) ?(?:hours?|hrs?|h))?(?: ?and)? ?(?:([0-9]{1,6})` +
		` ?(?:minutes?|mins?|m))?$`)
)

// minutesOf reads an amount as people type it: coins (2, 1.5, 0,25) or hours and minutes (1:30, 1h 30m,
// 45 minutes). The sentence says what is wrong with it; empty: nothing.
func minutesOf(text string) (minutes int64, sentence string) {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	const example = " For example 2, 1.5 or 1:30."
	if text == "" {
		return 0, "Say how many coins." + example
	}
	if m := typedClock.FindStringSubmatch(text); m != nil {
		return aboveNothing(number(m[1])*minutesPerCoin + number(m[2]))
	}
	if m := typedCoins.FindStringSubmatch(text); m != nil && m[1]+m[2] != "" {
		share, parts := number(m[2])*minutesPerCoin, int64(1)
		for range m[2] {
			parts *= 10
		}
		if share%parts != 0 {
			return 0, "“" + text + "” is not a whole number of minutes. Use quarters, such as 0.25 or 1.5," +
				" or hours and minutes, such as 0:20."
		}
		return aboveNothing(number(m[1])*minutesPerCoin + share/parts)
	}
	if m := typedHours.FindStringSubmatch(text); m != nil && m[1]+m[2] != "" {
		return aboveNothing(number(m[1])*minutesPerCoin + number(m[2]))
	}
	return 0, "“" + shortened(text, 20) + "” is not an amount." + example
}

func aboveNothing(minutes int64) (int64, string) {
	if minutes == 0 {
		return 0, "The amount must be more than nothing."
	}
	return minutes, ""
}

// number reads digits that a pattern bounded; none are nought.
func number(digits string) int64 {
	n, err := strconv.ParseInt("0"+digits, 10, 64)
	if err != nil {
		panic("the pattern let more than digits pass: " + err.Error())
	}
	return n
}

func shortened(text string, runes int) string {
	if r := []rune(text); len(r) > runes {
		return string(r[:runes]) + "…"
	}
	return text
}

// coins puts minutes in words: 1 coin, 2.5 coins.
func coins(minutes int64) string {
	if minutes < 0 {
		return "−" + coin.Coins(-minutes)
	}
	return coin.Coins(minutes)
}

// bareCoins is coins without the word.
func bareCoins(minutes int64) string {
	text, _, _ := strings.Cut(coins(minutes), " ")
	return text
}

// signedCoins is bareCoins with its sign in front: +2, −1.25.
func signedCoins(minutes int64) string {
	if minutes > 0 {
		return "+" + bareCoins(minutes)
	}
	return bareCoins(minutes)
}

// hours puts minutes in words: 2 hours, 1 hour and 20 minutes.
func hours(minutes int64) string {
	if minutes < 0 {
		minutes = -minutes
	}
	h, m := minutes/60, minutes%60
	switch {
	case m == 0:
		return count(h, "hour")
	case h == 0:
		return count(m, "minute")
	default:
		return count(h, "hour") + " and " + count(m, "minute")
	}
}

// count says how many of something there are: 1 hour, 2 hours, 1 person, 2 people.
func count(n int64, one string) string {
	many := one + "s"
	if one == "person" {
		many = "people"
	}
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}
