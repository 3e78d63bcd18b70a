package sendmail

import (
	"context"
	"errors"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A config is what this package understands of a sendmail.cf: its macros,
// classes, options, maps and rules (Sendmail Installation and Operation Guide,
// chapter 5). The rules of masquerading and of milters are read too, but nobody
// asks for them here.
type config struct {
	path     string
	macros   map[string]string
	places   map[string]place           // of the macros
	classes  map[string]map[string]bool // members in lower case
	words    map[string][]ClassWord     // the same in their order
	options  map[string]string          // by their long names
	lines    map[string]int             // of the options
	maps     map[string]*mapSpec
	mailers  map[string]mailer
	rulesets map[string][]rule
	numbers  map[string]string // number of a ruleset that has a name
	titles   map[string]string // name of a ruleset as it was first written
	spaceSub byte
	problems []qmailkit.Problem
}

// A mailer is an M line: its flags, the ruleset for envelope recipients, and
// what it runs.
type mailer struct{ flags, recipients, path, args string }

// A mapSpec is a K line.
type mapSpec struct {
	name, class, file string
	members           []string // of a sequence
	suffix            string   // -a
	foldNot           bool     // -f
	matchOnly         bool     // -m
	keepQuotes        bool     // -q
	spaceSub          byte     // -S; 0 is that of the configuration
	optional          bool     // -o
	line              int
}

func newConfig() *config {
	return &config{
		macros: map[string]string{}, places: map[string]place{}, classes: map[string]map[string]bool{}, words: map[string][]ClassWord{}, options: map[string]string{},
		lines: map[string]int{}, maps: map[string]*mapSpec{}, mailers: map[string]mailer{},
		rulesets: map[string][]rule{}, numbers: map[string]string{}, titles: map[string]string{}, spaceSub: ' ',
	}
}

func (c *config) scanner() scanner {
	if ops, ok := c.options["operatorchars"]; ok {
		return scanner{ops}
	}
	if ops, ok := c.macros["o"]; ok {
		return scanner{ops}
	}
	return scanner{".:@[]"}
}

func (c *config) macro(name string) string { return c.macros[name] }

func (c *config) inClass(name, word string) bool { return c.classes[name][lower(word)] }

// A ClassWord is a word of a class of sendmail.cf and where it stands.
type ClassWord struct {
	Word string // as it stands
	Path string // empty for a name that the host has itself
	Line int
}

func (c *config) addWord(class, word string, at place) {
	if c.classes[class] == nil {
		c.classes[class] = map[string]bool{}
	}
	if other, ok := strings.CutPrefix(word, "$="); ok {
		other, _ = macroName(other)
		for _, w := range c.words[other] {
			c.addWord(class, w.Word, place{path: w.Path, line: w.Line})
		}
		return
	}
	if folded := lower(word); !c.classes[class][folded] {
		c.classes[class][folded] = true
		c.words[class] = append(c.words[class], ClassWord{word, at.path, at.line})
	}
}

// rulesetName gives the number of a named ruleset, so that both names work.
func (c *config) rulesetName(name string) string {
	name = lower(name)
	if n, ok := c.numbers[name]; ok {
		return n
	}
	return name
}

// rulesetTitle is what Sendmail calls a ruleset.
func (c *config) rulesetTitle(number string) string {
	if title, ok := c.titles[number]; ok {
		return title
	}
	return number
}

// shortOptions are the old names of options (readcf.c:OptionTab).
var shortOptions = map[byte]string{
	'A': "aliasfile", 'B': "blanksub", 'G': "matchgecos", 'J': "forwardpath", 'U': "userdatabasespec", 'u': "defaultuser", 'o': "oldstyleheaders",
}

// readConfig reads a sendmail.cf. The files of its F lines are read by the
// host, and a name that it has itself is in its class w.
func (h *Host) readConfig(ctx context.Context) (*config, error) {
	c := newConfig()
	c.path = h.layout.Config
	own, err := h.ownNames(ctx)
	if err != nil {
		return nil, err
	}
	c.setNames(own)
	if c.path == "" {
		return c, c.standard(ctx, h)
	}
	r := configReader{host: h, ctx: ctx, conf: c, ruleset: "0"}
	var held line // a line may go on in the next
	for l, err := range h.lines(ctx, c.path) {
		if err != nil {
			item, ok := AsProblem(err)
			if !ok || errors.Is(err, qmailkit.ErrIncomplete) {
				return nil, err
			}
			c.problems = append(c.problems, item)
			continue
		}
		text := strings.TrimRight(l.text(), "\r")
		if text != "" && (text[0] == ' ' || text[0] == '\t') {
			held.raw += "\n" + text
			continue
		}
		if err := r.line(held); err != nil {
			return nil, err
		}
		held = l
		held.raw = text
	}
	if err := r.line(held); err != nil {
		return nil, err
	}
	if len(c.rulesets["3"]) == 0 || len(c.rulesets["0"]) == 0 {
		c.problems = append(c.problems, place{path: c.path}.problem(qmailkit.Error, "config-no-rules",
			"there are no rules in sendmail.cf; those of a common host are taken"))
		return c, c.standard(ctx, h)
	}
	return c, nil
}

// setNames sets the macros j, w, m and k, and the class w, as Sendmail does
// before it reads its configuration.
func (c *config) setNames(own hostNames) {
	short, domain, _ := strings.Cut(own.full, ".")
	c.macros["j"], c.macros["k"], c.macros["w"], c.macros["m"] = own.full, own.node, short, domain
	c.macros["opMode"], c.macros["n"] = "v", "MAILER-DAEMON"
	for _, name := range append([]string{own.full, own.node, "localhost"}, own.others...) {
		c.addWord("w", name, place{})
	}
}

// A configReader takes the lines of a sendmail.cf.
type configReader struct {
	host    *Host
	ctx     context.Context
	conf    *config
	ruleset string
}

func (r *configReader) line(l line) error {
	text, c := l.raw, r.conf
	if text == "" || text[0] == '#' {
		return nil
	}
	switch rest := text[1:]; text[0] {
	case 'D':
		name, value := macroName(rest)
		c.macros[name], c.places[name] = c.expandMacros(strings.TrimRight(value, " \t")), l.place
		if name == "j" || name == "w" {
			c.addWord("w", c.macros[name], l.place)
		}
	case 'C':
		name, value := macroName(rest)
		for word := range strings.FieldsSeq(c.expandMacros(value)) {
			c.addWord(name, word, l.place)
		}
	case 'F':
		name, value := macroName(rest)
		return r.classFile(name, strings.TrimLeft(value, " \t"), l.place)
	case 'O':
		r.option(rest, l)
	case 'K':
		r.mapLine(rest, l.line)
	case 'M':
		r.mailer(rest)
	case 'S':
		r.startRuleset(rest)
	case 'R':
		left, right, ok := cutTabs(rest)
		if !ok {
			return nil
		}
		right, _, _ = cutTabs(right)
		c.rulesets[r.ruleset] = append(c.rulesets[r.ruleset],
			rule{left: c.compile(left, false), right: c.compile(right, true), line: l.line})
	}
	return nil
}

// mailer takes "Mname, P=path, F=flags, R=envelope/header".
func (r *configReader) mailer(text string) {
	name, text, _ := strings.Cut(text, ",")
	var m mailer
	for field := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(trimBlanks(field), "=")
		switch key {
		case "F":
			m.flags = trimBlanks(value)
		case "R":
			value, _, _ = strings.Cut(value, "/")
			m.recipients = trimBlanks(value)
		case "P":
			m.path = trimBlanks(value)
		case "A":
			m.args = trimBlanks(value)
		}
	}
	r.conf.mailers[lower(trimBlanks(name))] = m
}

// cutTabs cuts text at its first tabs.
func cutTabs(text string) (before, after string, found bool) {
	before, after, found = strings.Cut(text, "\t")
	return before, strings.TrimLeft(after, "\t"), found
}

// startRuleset takes "3", "canonify", "canonify=3".
func (r *configReader) startRuleset(text string) {
	text, _, _ = strings.Cut(text, "#")
	title, number, given := strings.Cut(text, "=")
	title, number = strings.TrimSpace(title), strings.TrimSpace(number)
	if given {
		r.conf.numbers[lower(title)] = number
	}
	r.ruleset = r.conf.rulesetName(title)
	if _, ok := r.conf.titles[r.ruleset]; !ok {
		r.conf.titles[r.ruleset] = title
	}
}

// option takes "O Name=value" and its old form, "Ovalue" with one letter.
func (r *configReader) option(text string, l line) {
	name, value := "", ""
	if strings.HasPrefix(text, " ") {
		var ok bool
		if name, value, ok = strings.Cut(strings.TrimLeft(text, " "), "="); !ok && !strings.HasPrefix(lower(name), "forwardpath") {
			value = "true"
		}
		name = lower(strings.TrimSpace(name))
	} else if text != "" {
		name, value = shortOptions[text[0]], text[1:]
	}
	value = strings.TrimSpace(value)
	if name == "aliasfile" && r.conf.options[name] != "" {
		value = r.conf.options[name] + "," + value
	}
	r.conf.options[name], r.conf.lines[name] = value, l.line
	if (name == "blanksub" || name == "spacesub") && value != "" {
		r.conf.spaceSub = value[0]
	}
}

// mapLine takes "Kname class -flags file".
func (r *configReader) mapLine(text string, line int) {
	words := strings.Fields(text)
	if len(words) < 2 {
		return
	}
	m := &mapSpec{name: lower(words[0]), class: lower(words[1]), line: line}
	m.keepQuotes = m.class == "dequote"
	for _, w := range words[2:] {
		switch {
		case len(w) > 1 && w[0] == '-':
			switch w[1] {
			case 'a':
				m.suffix = w[2:]
			case 'f':
				m.foldNot = true
			case 'm':
				m.matchOnly = true
			case 'o':
				m.optional = true
			case 'q':
				m.keepQuotes = true
			case 'S':
				if len(w) > 2 {
					m.spaceSub = w[2]
				}
			}
		case m.class == "sequence":
			m.members = append(m.members, lower(w))
		case m.file == "":
			m.file = w
		}
	}
	r.conf.maps[m.name] = m
}

// classFile reads the words of an F line.
func (r *configReader) classFile(class, value string, at place) error {
	file, optional := classFile(value)
	if !strings.HasPrefix(file, "/") {
		return nil // Domains reports it
	}
	name, fi, err := r.host.lookup(file)
	if err != nil || !fi.Mode.IsRegular() {
		if !optional || !missing(err) {
			r.conf.problems = append(r.conf.problems, at.problem(qmailkit.Error, "class-unreadable",
				"names of class %.80q should be in %.200q, which is no file that can be read", class, file))
		}
		return nil
	}
	for l, err := range r.host.lines(r.ctx, name) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err != nil {
			item, _ := AsProblem(err)
			r.conf.problems = append(r.conf.problems, item)
			continue
		}
		if words := strings.Fields(l.text()); len(words) > 0 && words[0][0] != '#' {
			r.conf.addWord(class, words[0], l.place)
		}
	}
	return nil
}
