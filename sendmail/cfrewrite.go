package sendmail

import (
	"errors"
	"fmt"
	"strings"
)

// errRules says that the rules of a configuration do not come to an end.
var errRules = errors.New("the rules of sendmail.cf do not come to an end")

// A machine rewrites addresses by the rules of a configuration, as
// parseaddr.c:rewrite does.
type machine struct {
	conf   *config
	maps   func(name, key string, args []string) (value string, found bool)
	macros map[string]string // of the address at hand, for $&x
	steps  int               // left
}

// Bounds of one address.
const (
	maxSteps = 2_000_000 // comparisons of tokens
	maxCalls = 50        // rulesets within rulesets (MAXRULERECURSION)
	maxLoops = 100       // turns of one rule
)

// rewrite applies a ruleset. One that does not exist changes nothing.
func (m *machine) rewrite(toks []string, ruleset string, depth int) ([]string, error) {
	if depth > maxCalls {
		return nil, fmt.Errorf("%w: ruleset %s calls itself", errRules, ruleset)
	}
	rules := m.conf.rulesets[ruleset]
	for i, loops := 0, 0; i < len(rules); {
		if len(toks) > 0 && toks[0] == tokMailer {
			break
		}
		r := &rules[i]
		args, ok := m.match(r.left, toks)
		if m.steps < 0 {
			return nil, errRules
		}
		if !ok {
			i, loops = i+1, 0
			continue
		}
		if loops++; loops > maxLoops {
			return nil, fmt.Errorf("%w: line %d", errRules, r.line)
		}
		right, next, end := r.right, false, false
		if len(right) > 0 && right[0].kind == opToken {
			switch right[0].text {
			case tokUser:
				right, next = right[1:], true
			case tokHost:
				right, end = right[1:], true
			case tokMailer:
				end = true
			}
		}
		var err error
		if toks, err = m.build(right, args, depth); err != nil {
			return nil, err
		}
		if end {
			break
		}
		if next {
			i, loops = i+1, 0
		}
	}
	return toks, nil
}

// A span is what an element of a left side matched.
type span struct{ from, to int }

// match compares a left side with tokens. Elements that take several take as
// few as they can, and the last of them takes one more where the rest fails.
func (m *machine) match(left []op, toks []string) ([][]string, bool) {
	spans := make([]span, len(left))
	tried := make([]int, len(left)) // tokens to take at least
	i, at := 0, 0
	for {
		if m.steps--; m.steps < 0 {
			return nil, false
		}
		to, ok := at, i < len(left)
		if ok {
			to, ok = m.take(left[i], toks, at, tried[i])
		} else if at == len(toks) {
			break
		}
		if ok {
			spans[i] = span{at, to}
			if i++; i < len(left) {
				tried[i] = 0
			}
			at = to
			continue
		}
		// Back to the last element that can take more.
		for i--; i >= 0; i-- {
			if k := left[i].kind; k == opAny || k == opSome || k == opIn {
				break
			}
		}
		if i < 0 {
			return nil, false
		}
		at = spans[i].from
		tried[i] = spans[i].to - at + 1
	}
	var args [][]string
	for i, o := range left {
		if o.kind != opToken && o.kind != opNone && o.kind != opMacro {
			args = append(args, toks[spans[i].from:spans[i].to])
		}
	}
	return args, true
}

// take matches one element with at least min tokens and says where it ends.
func (m *machine) take(o op, toks []string, at, min int) (int, bool) {
	left := len(toks) - at
	switch o.kind {
	case opAny:
		return at + min, min <= left
	case opSome:
		min = max(min, 1)
		return at + min, min <= left
	case opOne:
		return at + 1, left > 0
	case opNone:
		return at, left == 0
	case opIn:
		for n := max(min, 1); n <= left; n++ {
			m.steps -= n
			if m.conf.inClass(o.text, m.conf.scanner().join(toks[at:at+n], 0)) {
				return at + n, true
			}
		}
		return at, false
	case opNotIn:
		return at + 1, left > 0 && !m.conf.inClass(o.text, toks[at])
	case opMacro:
		value, _, _ := m.conf.scanner().scan(m.macro(o.text), 0)
		if len(value) > left {
			return at, false
		}
		for i, t := range value {
			if lower(t) != lower(toks[at+i]) {
				return at, false
			}
		}
		return at + len(value), true
	}
	return at + 1, left > 0 && strings.EqualFold(o.text, toks[at])
}

func (m *machine) macro(name string) string {
	if v, ok := m.macros[name]; ok {
		return v
	}
	return m.conf.macro(name)
}

// build makes the tokens of a right side.
func (m *machine) build(right []op, args [][]string, depth int) ([]string, error) {
	s := m.conf.scanner()
	out := make([]string, 0, 16)
	var begin []int // places in out where look-ups begin
	calls := -1     // place of the first call in out
	for _, o := range right {
		switch o.kind {
		case opArg:
			if o.n >= 0 && o.n < len(args) {
				out = append(out, args[o.n]...)
			}
		case opMacro:
			value, _, _ := s.scan(m.macro(o.text), 0)
			out = append(out, value...)
		case opMapBegin, opHostBegin:
			begin = append(begin, len(out))
		case opMapEnd, opHostEnd:
			if len(begin) == 0 {
				continue
			}
			from := begin[len(begin)-1]
			begin = begin[:len(begin)-1]
			out = append(out[:from], m.lookup(out[from:], o.kind == opHostEnd)...)
		case opCall:
			if calls < 0 {
				calls = len(out)
			}
			out = append(out, tokCall)
		case opToken:
			out = append(out, o.text)
		}
		if len(out) > maxTokens {
			return nil, errTokens
		}
	}
	if calls < 0 {
		return out, nil
	}
	return m.call(out, depth)
}

// tokCall is $> while a right side is built.
const tokCall = "\x00>"

// call runs the rulesets that are called in tokens, the last one first, each
// with all that is behind it.
func (m *machine) call(toks []string, depth int) ([]string, error) {
	for i := len(toks) - 1; i >= 0; i-- {
		if toks[i] != tokCall {
			continue
		}
		if i+1 == len(toks) {
			return toks[:i], nil
		}
		name := m.conf.rulesetName(strings.Trim(toks[i+1], `"`))
		result, err := m.rewrite(toks[i+2:], name, depth+1)
		if err != nil {
			return nil, err
		}
		toks = append(toks[:i:i], result...)
	}
	return toks, nil
}

// lookup does $(map key $@ arg $: default $), and $[ host $: default $], which
// without a name server finds nothing.
func (m *machine) lookup(toks []string, host bool) []string {
	s := m.conf.scanner()
	name := "host"
	if !host {
		if len(toks) == 0 {
			return nil
		}
		name, toks = toks[0], toks[1:]
	}
	var parts [][]string // the key and the arguments
	fallback, given := []string(nil), false
	from := 0
	for i := 0; i <= len(toks); i++ {
		if i < len(toks) && toks[i] != tokHost && toks[i] != tokUser {
			continue
		}
		parts = append(parts, toks[from:i])
		from = i + 1
		if i < len(toks) && toks[i] == tokUser {
			fallback, given = toks[i+1:], true
			break
		}
	}
	key := s.join(parts[0], m.conf.spaceSub)
	if !host {
		args := []string{key}
		for _, p := range parts[1:] {
			args = append(args, s.join(p, m.conf.spaceSub))
		}
		if value, ok := m.maps(name, key, args); ok {
			found, _, _ := s.scan(value, 0)
			return found
		}
	}
	if given {
		return append([]string(nil), fallback...)
	}
	return append([]string(nil), parts[0]...)
}
