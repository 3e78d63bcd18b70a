package mbox

// zones reads up to two zones, " +0100" or " MET DST" or " (CET)". A word that
// goes on after six letters is no zone but text, which a full date may have
// behind it; without a year it makes the whole no date, as its caller will see
// from what is left.
func (p *dateParser) zones(i int, dated bool) int {
	for range 2 {
		j, ok := p.spaces(i)
		if !ok || j >= len(p.b) {
			return i
		}
		off, known, end, ok := p.zone(j)
		if !ok {
			return i
		}
		if dated && end < len(p.b) && isAlpha(p.b[end-1]) && isAlpha(p.b[end]) {
			return i
		}
		if known && !p.d.zoned {
			p.d.zoned, p.d.offset = true, off
		}
		i = end
	}
	return i
}

func (p *dateParser) zone(i int) (offset int, known bool, end int, ok bool) {
	switch c := p.b[i]; {
	case c == '+' || c == '-':
		off, end, ok := p.numericZone(i, false)
		return off, ok, end, ok
	case c == '(':
		end := p.letters(i + 1)
		if end == i+1 || !p.byteAt(end, ')') {
			return 0, false, 0, false
		}
		off, known := zoneOffset(p.b[i+1:end], false)
		return off, known, end + 1, true
	case isAlpha(c):
		end := p.letters(i)
		dst := end+4 <= len(p.b) && p.b[end] == ' ' && string(lower3(p.b[end+1:])) == "dst"
		off, known := zoneOffset(p.b[i:end], dst)
		if dst {
			end += 4
		}
		return off, known, end, true
	}
	return 0, false, 0, false
}

func lower3(b []byte) []byte { return []byte{b[0] | 0x20, b[1] | 0x20, b[2] | 0x20} }

// letters ends after at most six letters.
func (p *dateParser) letters(i int) int {
	for n := 0; n < 6 && i < len(p.b) && isAlpha(p.b[i]); n++ {
		i++
	}
	return i
}

// numericZone reads "+0200" or "+02:00".
func (p *dateParser) numericZone(i int, isoSign bool) (offset, end int, ok bool) {
	if i >= len(p.b) || p.b[i] != '+' && p.b[i] != '-' {
		return 0, 0, false
	}
	h, end, ok := p.number(i+1, 2, 2)
	if !ok {
		return 0, 0, false
	}
	if p.byteAt(end, ':') {
		end++
	}
	m, end, ok := p.number(end, 2, 2)
	if !ok {
		return 0, 0, false
	}
	offset = (h*60 + m) * 60
	if p.b[i] == '-' {
		offset = -offset
	}
	return offset, end, true
}

// zoneOffset knows the zone names that were seen in old mail; for the names
// with several meanings it takes that of RFC 822 and of Europe.
func zoneOffset(name []byte, dst bool) (seconds int, known bool) {
	var up [6]byte
	for i, c := range name {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		up[i] = c
	}
	hours, ok := 0.0, true
	switch string(up[:len(name)]) {
	case "UT", "UTC", "GMT", "Z", "WET":
	case "WETDST", "WEST", "BST", "CET", "MET", "MEZ":
		hours = 1
	case "CEST", "MEST", "METDST", "MESZ", "EET", "SAST":
		hours = 2
	case "EEST", "EETDST", "MSK":
		hours = 3
	case "MSD":
		hours = 4
	case "IST":
		hours = 5.5
	case "SGT", "HKT":
		hours = 8
	case "JST", "KST":
		hours = 9
	case "AEST":
		hours = 10
	case "AEDT":
		hours = 11
	case "NZST":
		hours = 12
	case "NZDT":
		hours = 13
	case "EDT":
		hours = -4
	case "EST", "CDT":
		hours = -5
	case "CST", "MDT":
		hours = -6
	case "MST", "PDT":
		hours = -7
	case "PST":
		hours = -8
	default:
		ok = false
	}
	if dst {
		hours++
	}
	return int(hours * 3600), ok
}
