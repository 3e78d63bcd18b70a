package sendmail

import (
	"errors"
	"fmt"
	"slices"
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
	words  []string          // what Sendmail complains about, in its words
}

// Bounds of one address.
const (
	maxSteps = 2_000_000 // comparisons of tokens
	maxCalls = 50        // rulesets within rulesets (MAXRULERECURSION)
	maxLoops = 100       // turns of one rule
)

func (m *machine) complain(format string, args ...any) {
	m.words = append(m.words, fmt.Sprintf(format, args...))
}

// rewrite applies a ruleset; one that does not exist changes nothing. Where a
// rule cannot be applied it gives false and the tokens as far as they were
// rewritten, and, as Sendmail does, whoever called goes on with them.
func (m *machine) rewrite(toks []string, ruleset string, depth int) ([]string, bool) {
	if depth > maxCalls {
		m.complain("rewrite: excessive recursion (max %d), ruleset %s", maxCalls, m.conf.rulesetTitle(ruleset))
		return toks, false
	}
	ok := true
	rules := m.conf.rulesets[ruleset]
	for i, loops := 0, 0; i < len(rules); {
		if len(toks) > 0 && toks[0] == tokMailer {
			break
		}
		if loops++; loops > maxLoops {
			m.complain("Infinite loop in ruleset %s, rule %d", m.conf.rulesetTitle(ruleset), i+1)
			break
		}
		args, matches := m.match(rules[i].left, toks)
		if m.steps < 0 {
			return toks, false
		}
		if !matches {
			i, loops = i+1, 0
			continue
		}
		right, end := rules[i].right, false
		if len(right) > 0 && right[0].kind == opToken {
			switch right[0].text {
			case tokUser:
				right = right[1:]
				i, loops = i+1, 0
			case tokHost:
				right, end = right[1:], true
			}
		}
		made, good := m.build(right, args)
		if !good {
			return toks, false
		}
		toks, good = m.call(made, depth)
		if ok = ok && good; end {
			break
		}
	}
	return toks, ok
}

// A span is what an element of a left side matched.
type span struct{ from, to int }

// match compares a left side with tokens. Elements that take several take as
// few as they can, and the last of them takes one more where the rest fails.
func (m *machine) match(left []op, toks []string) ([][]string, bool) {
	if len(left) > 0 && left[0].kind == opToken && (len(toks) == 0 || lower(left[0].text) != lower(toks[0])) {
		m.steps-- // as most rules do, it fails at its first token
		return nil, false
	}
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
			if m.conf.inClass(o.text, m.conf.scanner().join(toks[at:at+n], m.conf.spaceSub)) {
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
	return at + 1, left > 0 && lower(o.text) == lower(toks[at])
}

func (m *machine) macro(name string) string {
	if v, ok := m.macros[name]; ok {
		return v
	}
	return m.conf.macro(name)
}

// build makes the tokens of a right side; false says that a value has none.
func (m *machine) build(right []op, args [][]string) ([]string, bool) {
	s := m.conf.scanner()
	out := make([]string, 0, 16)
	var begin []int // places in out where look-ups begin
	for _, o := range right {
		switch o.kind {
		case opArg:
			if o.n >= 0 && o.n < len(args) {
				out = append(out, args[o.n]...)
			}
		case opMacro:
			if value := m.macro(o.text); value != "" {
				toks, ok := m.scan(s, value)
				if !ok {
					return nil, false
				}
				out = append(out, toks...)
			}
		case opMapBegin, opHostBegin:
			begin = append(begin, len(out))
		case opMapEnd, opHostEnd:
			if len(begin) == 0 {
				continue
			}
			from := begin[len(begin)-1]
			begin = begin[:len(begin)-1]
			found, ok := m.lookup(out[from:], o.kind == opHostEnd)
			if !ok {
				return nil, false
			}
			out = append(out[:from], found...)
		case opCall:
			out = append(out, tokCall)
		case opToken:
			out = append(out, o.text)
		}
		if len(out) > maxTokens {
			m.complain("rewrite: expansion too long")
			return nil, false
		}
	}
	return out, true
}

// scan takes a value apart that comes out of a macro or a map.
func (m *machine) scan(s scanner, value string) ([]string, bool) {
	toks, _, words := s.scan(value, 0)
	m.words = append(m.words, words...)
	return toks, len(toks) > 0
}

// tokCall is $> while a right side is built.
const tokCall = "\x00>"

// call runs the rulesets that are called in tokens, the last one first, each
// with all that is behind it. Where one fails, those before it are not run and
// stay as they are (parseaddr.c:callsubr).
func (m *machine) call(toks []string, depth int) ([]string, bool) {
	type subroutine struct {
		at   int
		name string
	}
	var calls []subroutine
	for i := 0; i+1 < len(toks); i++ {
		if toks[i] != tokCall {
			continue
		}
		name := m.conf.rulesetName(unquote(toks[i+1]))
		if len(m.conf.rulesets[name]) > 0 {
			calls = append(calls, subroutine{i, name})
			continue
		}
		toks = slices.Delete(toks, i, i+2) // and Sendmail does not look at what is now here
	}
	for _, c := range slices.Backward(calls) {
		result, ok := m.rewrite(toks[c.at+2:], c.name, depth+1)
		if toks = append(toks[:c.at:c.at], result...); !ok {
			return toks, false
		}
	}
	return toks, true
}

// lookup does $(map key $@ arg $: default $), and $[ host $: default $], which
// without a name server finds nothing.
func (m *machine) lookup(toks []string, host bool) ([]string, bool) {
	s := m.conf.scanner()
	name := "host"
	if !host {
		if len(toks) == 0 {
			return nil, true
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
	sub := m.conf.spaceSub
	spec := m.conf.maps[lower(name)]
	keySub := sub
	if spec != nil && spec.spaceSub != 0 {
		keySub = spec.spaceSub
	}
	key := s.join(parts[0], keySub)
	if spec == nil || !spec.keepQuotes {
		key = unquote(key)
	}
	args := []string{key}
	for _, p := range parts[1:] {
		args = append(args, s.join(p, sub))
	}
	value, ok := "", false
	if !host {
		value, ok = m.find(spec, name, key, args)
	}
	switch {
	case ok && value == "":
		return nil, true
	case ok:
		return m.scan(s, value)
	case given && len(fallback) > 0 && !slices.ContainsFunc(fallback, isMark):
		return m.scan(s, s.join(fallback, sub))
	case given:
		return append([]string(nil), fallback...), true
	}
	return append([]string(nil), parts[0]...), true
}

// find asks a map. One of the class macro sets a macro.
func (m *machine) find(spec *mapSpec, name, key string, args []string) (string, bool) {
	if spec != nil && spec.class == "macro" {
		macro, _ := macroName(key)
		if macro == "" {
			return "", false
		}
		delete(m.macros, macro)
		if len(args) > 1 {
			m.macros[macro] = args[1]
		}
		return "", true
	}
	if spec == nil && name != "host" {
		m.complain("rewrite: map %s not found", name)
	}
	return m.maps(name, key, args)
}
