package sendmail

import (
	"iter"

	"github.com/qmailkit/qmailkit"
)

// A shadowReader finds lines of shadow by name, reading no further than it
// must. Lines that it passed on the way are kept until they are asked for.
type shadowReader struct {
	next  func() (line, error, bool)
	stop  func()
	ahead map[string]*shadowEntry
	order []string // names of ahead, some of them gone
}

func openShadow(lines iter.Seq2[line, error]) *shadowReader {
	s := &shadowReader{ahead: map[string]*shadowEntry{}}
	s.next, s.stop = iter.Pull2(lines)
	return s
}

// read gives the next entry, nil at the end.
func (s *shadowReader) read() (*shadowEntry, []error) {
	var errs []error
	for {
		l, err, ok := s.next()
		if !ok {
			return nil, errs
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		text := l.text()
		if skipped(text) || fromNIS(text) {
			continue // passwd's own NIS line is reported
		}
		e, err := parseShadow(text)
		if err != nil {
			errs = append(errs, l.item("malformed-line", "%w", err))
			continue
		}
		e.place = l.place
		return e, errs
	}
}

// find gives the first entry of that name.
func (s *shadowReader) find(name string) (*shadowEntry, []error) {
	if e, ok := s.ahead[name]; ok {
		delete(s.ahead, name)
		return e, nil
	}
	var errs []error
	for {
		e, more := s.read()
		errs = append(errs, more...)
		if e == nil || e.name() == name {
			return e, errs
		}
		errs = append(errs, s.keep(e)...)
	}
}

// keep puts an entry aside.
func (s *shadowReader) keep(e *shadowEntry) []error {
	if first, dup := s.ahead[e.name()]; dup {
		return []error{&ItemError{e.problem(qmailkit.Warning, "duplicate-shadow",
			"user %.80q has stood in line %d already, and that one counts", e.name(), first.line)}}
	}
	s.ahead[e.name()] = e
	s.order = append(s.order, e.name())
	return nil
}

// rest gives all entries that were never found, in the order of the file.
func (s *shadowReader) rest() ([]*shadowEntry, []error) {
	var errs []error
	for {
		e, more := s.read()
		errs = append(errs, more...)
		if e == nil {
			break
		}
		errs = append(errs, s.keep(e)...)
	}
	var list []*shadowEntry
	for _, name := range s.order {
		if e, ok := s.ahead[name]; ok {
			list = append(list, e)
			delete(s.ahead, name)
		}
	}
	return list, errs
}
