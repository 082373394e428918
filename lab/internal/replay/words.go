package replay

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// brief returns a duration with three digits that count.
func brief(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(d / 1000).Round(10 * time.Microsecond).String()
	}
	return d.Round(100 * time.Nanosecond).String()
}

// long returns a time that many waited together: "29 h 07 min", "3 min 20 s", "4.2 s".
func long(d time.Duration) string {
	switch {
	case d >= time.Hour:
		minutes := int(d.Minutes() + .5)
		return fmt.Sprintf("%s h %02d min", count(minutes/60), minutes%60)
	case d >= time.Minute:
		s := int(d.Seconds() + .5)
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

// count returns a number with commas.
func count(n int) string {
	digits := strconv.Itoa(n)
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// ofAll returns a share in percent, such that what is not all never reads 100 %, and what is something never 0 %.
func ofAll(n, of int) string {
	if of == 0 {
		return "-"
	}
	p := 100 * float64(n) / float64(of)
	text := strconv.FormatFloat(p, 'f', 1, 64)
	if n < of && text == "100.0" || n > 0 && text == "0.0" {
		text = strconv.FormatFloat(p, 'f', 3, 64)
	}
	return text + " %"
}

func sorted[T cmp.Ordered](values []T) []T {
	slices.Sort(values)
	return values
}

// wrapped breaks a text between words into lines of at most 96 characters, all but the first of which are indented.
func wrapped(text, indent string) (lines []string) {
	const most = 96
	for {
		runes := []rune(text)
		cut := most
		if len(runes) <= most {
			return append(lines, text)
		}
		for cut > len(indent)+4 && runes[cut] != ' ' {
			cut--
		}
		if runes[cut] != ' ' {
			return append(lines, text) // one long word
		}
		lines = append(lines, string(runes[:cut]))
		text = indent + string(runes[cut+1:])
	}
}
