package mbox

import "time"

// This file knows the dates that From_ lines and header fields hold. It reads
// three grammars: asctime and its kin ("Sat Jan  3 01:05:34 1996", with zones
// before or after the year, without seconds, with two digits of year, with a
// long month), RFC 822 ("Sun, 11 Nov 2007 06:58:35 +0200") and ISO 8601.

// stamp is a date as it was found.
type stamp struct {
	start, end        int // bytes of it, without the blank before
	year, month, day  int // year -1 where there is none
	hour, min, sec    int
	zoned             bool
	offset            int // seconds east of UTC, where zoned
	twelve, afternoon bool
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isSpace is the white space of the C locale.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlpha(c byte) bool { c |= 0x20; return c >= 'a' && c <= 'z' }

// findDate finds the first date in b that white space stands before, at from
// or later. more is what follows it.
func findDate(b []byte, from int, d *stamp) (more []byte, ok bool) {
	p := dateParser{b, d}
	for i := from; i+1 < len(b); i++ {
		if isSpace(b[i]) && mayBegin(b[i+1]) && p.date(i+1) {
			return b[d.end:], true
		}
	}
	return nil, false
}

// mayBegin says whether a date can begin with c: a digit or the first letter of
// a weekday or month.
func mayBegin(c byte) bool {
	if isDigit(c) {
		return true
	}
	switch c | 0x20 {
	case 'm', 't', 'w', 'f', 's', 'j', 'a', 'o', 'n', 'd':
		return true
	}
	return false
}

// dateParser reads one date; each method takes the place where its part begins.
type dateParser struct {
	b []byte
	d *stamp
}

func (p *dateParser) date(i int) bool {
	p.d.start, p.d.zoned = i, false
	if at, ok := p.weekday(i); ok && (p.asctime(at) || p.rfc822(at)) {
		return true
	}
	return p.asctime(i) || p.rfc822(i) || p.iso(i)
}

const (
	weekdayNames = "montuewedthufrisatsun"
	monthNames   = "janfebmaraprmayjunjulaugsepoctnovdec"
)

// name reads one of the three-letter names and up to six letters more.
func (p *dateParser) name(names string, i int) (index, end int, ok bool) {
	if i+3 > len(p.b) {
		return 0, 0, false
	}
	a, b, c := p.b[i]|0x20, p.b[i+1]|0x20, p.b[i+2]|0x20
	for k := 0; k < len(names); k += 3 {
		if names[k] == a && names[k+1] == b && names[k+2] == c {
			end = i + 3
			for n := 0; n < 6 && end < len(p.b) && isAlpha(p.b[end]); n++ {
				end++
			}
			return k / 3, end, true
		}
	}
	return 0, 0, false
}

func (p *dateParser) spaces(i int) (int, bool) {
	j := i
	for j < len(p.b) && p.b[j] == ' ' {
		j++
	}
	return j, j > i
}

// number reads min to max digits.
func (p *dateParser) number(i, min, max int) (v, end int, ok bool) {
	end = i
	for end < len(p.b) && end-i < max && isDigit(p.b[end]) {
		v = v*10 + int(p.b[end]-'0')
		end++
	}
	return v, end, end-i >= min
}

func (p *dateParser) byteAt(i int, c byte) bool { return i < len(p.b) && p.b[i] == c }

// weekday reads "Mon " or "Monday, ".
func (p *dateParser) weekday(i int) (int, bool) {
	_, end, ok := p.name(weekdayNames, i)
	if !ok {
		return 0, false
	}
	if p.byteAt(end, ',') {
		end++
	}
	return p.spaces(end)
}

// asctime reads "Jan  3 01:05:34 1996" with all its variations.
func (p *dateParser) asctime(i int) bool {
	month, i, ok := p.name(monthNames, i)
	if !ok {
		return false
	}
	if i, ok = p.spaces(i); !ok {
		return false
	}
	day, i, ok := p.number(i, 1, 2)
	if !ok {
		return false
	}
	if p.byteAt(i, ',') {
		i++
	}
	if i, ok = p.spaces(i); !ok {
		return false
	}
	year := -1
	if v, end, ok := p.number(i, 4, 4); ok {
		if j, ok := p.spaces(end); ok {
			year, i = v, j
		}
	}
	i, ok = p.clock(i)
	if !ok {
		return false
	}
	i = p.zones(i, year >= 0)
	if j, ok := p.spaces(i); ok {
		if v, end, ok := p.number(j, 4, 4); ok {
			year, i = v, end
		} else if v, end, ok := p.number(j, 2, 2); ok {
			year, i = century(v), end
		}
	}
	i = p.zones(i, year >= 0)
	p.set(year, month+1, day, i)
	return true
}

// rfc822 reads "11 Nov 2007 06:58:35 +0200".
func (p *dateParser) rfc822(i int) bool {
	day, i, ok := p.number(i, 1, 2)
	if !ok || !p.byteAt(i, ' ') && !p.byteAt(i, '-') {
		return false
	}
	month, i, ok := p.name(monthNames, i+1)
	if !ok || !p.byteAt(i, ' ') && !p.byteAt(i, '-') {
		return false
	}
	i++
	year, end, ok := p.number(i, 4, 4)
	if !ok {
		if year, end, ok = p.number(i, 2, 2); !ok {
			return false
		}
		year = century(year)
	}
	if i, ok = p.spaces(end); !ok {
		return false
	}
	if i, ok = p.clock(i); !ok {
		return false
	}
	p.set(year, month+1, day, p.zones(i, true))
	return true
}

// iso reads "2007-11-11T06:58:35+02:00".
func (p *dateParser) iso(i int) bool {
	year, i, ok := p.number(i, 4, 4)
	if !ok || !p.byteAt(i, '-') {
		return false
	}
	month, i, ok := p.number(i+1, 2, 2)
	if !ok || !p.byteAt(i, '-') {
		return false
	}
	day, i, ok := p.number(i+1, 2, 2)
	if !ok || i >= len(p.b) || p.b[i] != ' ' && p.b[i]|0x20 != 't' {
		return false
	}
	if _, end, ok := p.number(i+1, 2, 2); !ok || !p.byteAt(end, ':') {
		return false
	}
	i, ok = p.clock24(i + 1)
	if !ok {
		return false
	}
	if i < len(p.b) && p.b[i]|0x20 == 'z' {
		p.d.zoned, p.d.offset = true, 0
		i++
	} else {
		j := i
		if p.byteAt(j, ' ') {
			j++
		}
		if off, end, ok := p.numericZone(j, true); ok {
			p.d.zoned, p.d.offset = true, off
			i = end
		}
	}
	p.set(year, month, day, i)
	return true
}

// clock reads "1:05", "01:05:34.5" or "01:05 PM".
func (p *dateParser) clock(i int) (int, bool) {
	i, ok := p.clock24(i)
	if !ok {
		return 0, false
	}
	j := i
	if p.byteAt(j, ' ') {
		j++
	}
	if j+1 < len(p.b) && p.b[j+1]|0x20 == 'm' {
		switch p.b[j] | 0x20 {
		case 'a', 'p':
			p.d.twelve, p.d.afternoon = true, p.b[j]|0x20 == 'p'
			i = j + 2
		}
	}
	return i, true
}

func (p *dateParser) clock24(i int) (int, bool) {
	hour, i, ok := p.number(i, 1, 2)
	if !ok || !p.byteAt(i, ':') {
		return 0, false
	}
	min, i, ok := p.number(i+1, 2, 2)
	if !ok {
		return 0, false
	}
	sec := 0
	if p.byteAt(i, ':') {
		if v, end, ok := p.number(i+1, 2, 2); ok {
			sec, i = v, end
			if p.byteAt(i, '.') && i+1 < len(p.b) && isDigit(p.b[i+1]) {
				for i++; i < len(p.b) && isDigit(p.b[i]); i++ {
				}
			}
		}
	}
	p.d.hour, p.d.min, p.d.sec, p.d.twelve, p.d.afternoon = hour, min, sec, false, false
	return i, true
}

func (p *dateParser) set(year, month, day, end int) {
	p.d.year, p.d.month, p.d.day, p.d.end = year, month, day, end
}

// century completes a year of two digits: below 70 it is 20xx.
func century(y int) int {
	if y < 70 {
		return 2000 + y
	}
	return 1900 + y
}

// time turns the stamp into a time; ok is false where a part is missing or out
// of range.
func (d *stamp) time(loc *time.Location) (time.Time, bool) {
	hour := d.hour
	if d.twelve {
		if hour < 1 || hour > 12 {
			return time.Time{}, false
		}
		hour %= 12
		if d.afternoon {
			hour += 12
		}
	}
	if d.year < 0 || d.month < 1 || d.month > 12 || d.day < 1 || hour > 23 || d.min > 59 || d.sec > 60 {
		return time.Time{}, false
	}
	if d.day > daysIn(d.year, d.month) {
		return time.Time{}, false
	}
	if d.zoned {
		t := time.Date(d.year, time.Month(d.month), d.day, hour, d.min, d.sec, 0, time.UTC)
		return t.Add(-time.Duration(d.offset) * time.Second), true
	}
	return time.Date(d.year, time.Month(d.month), d.day, hour, d.min, d.sec, 0, loc), true
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}
