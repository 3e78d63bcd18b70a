package plesk

// unescape is what a byte behind a backslash stands for (MariaDB's manual,
// "String Literals").
func unescape(c byte) byte {
	switch c {
	case '0':
		return 0
	case 'b':
		return '\b'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'Z':
		return 0x1a
	}
	return c
}

// literal reads what follows 0x, x', 0b or b', of which l is before the second
// character.
func (l *lexer) literal(t *token, base byte) error {
	closed := l.peek() == '\''
	l.drop(1)
	var bits, have uint
	digits := 0
	per := uint(4)
	if base == 'b' {
		per = 1
	}
	first := true
	var pending []byte
	for {
		c := l.peek()
		v, ok := digit(c, per)
		if !ok {
			break
		}
		l.drop(1)
		digits++
		if len(pending) < 2*l.limit {
			pending = append(pending, v)
		} else {
			t.cut = true
		}
	}
	if closed {
		if c, ok := l.read(); !ok || c != '\'' {
			return l.fail("a literal")
		}
	}
	// The first byte has what does not fill a byte.
	lead := (uint(len(pending)) * per) % 8
	for _, v := range pending {
		bits, have = bits<<per|uint(v), have+per
		if have == 8 || first && have == lead {
			l.keep(t, byte(bits))
			bits, have, first = 0, 0, false
		}
	}
	if digits == 0 && !closed {
		l.keep(t, '0')
	}
	return nil
}

func digit(c byte, per uint) (v byte, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		v = c - '0'
	case c >= 'a' && c <= 'f':
		v = c - 'a' + 10
	case c >= 'A' && c <= 'F':
		v = c - 'A' + 10
	default:
		return 0, false
	}
	return v, v < 1<<per
}
