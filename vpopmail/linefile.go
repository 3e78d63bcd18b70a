package vpopmail

import (
	"bytes"
	"slices"
	"strings"
)

// A lineFile is a file that vpopmail's update_file and remove_lines edit:
// users/assign and the control files. Lines that are not edited are written as
// they were read, whatever their length.
type lineFile struct {
	lines  []string // without LF
	noLF   bool     // the last line has none
	assign bool     // the sort key of users/assign, and its last line of one dot
	exists bool
}

func parseLines(b []byte, exists, assign bool) *lineFile {
	f := &lineFile{assign: assign, exists: exists}
	for l := range bytes.Lines(b) {
		body, lf := bytes.CutSuffix(l, []byte("\n"))
		f.lines = append(f.lines, string(body))
		f.noLF = !lf
	}
	return f
}

func (f *lineFile) bytes() []byte {
	var b bytes.Buffer
	for i, l := range f.lines {
		b.WriteString(l)
		if i < len(f.lines)-1 || !f.noLF {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func (f *lineFile) has(line string) bool { return slices.Contains(f.lines, line) }

func (f *lineFile) count(line string) (n int) {
	for _, l := range f.lines {
		if l == line {
			n++
		}
	}
	return n
}

// insert puts a line before the first whose key is greater, at the end if none
// is, and whether it stands there already does not matter. If the file is out
// of order all of it is sorted, and sorted is true; vpopmail then prints a
// notice (vpopmail.c:update_file). In users/assign the line of one dot comes
// last again.
func (f *lineFile) insert(line string) (sorted bool) {
	if f.assign {
		f.lines = slices.DeleteFunc(f.lines, func(l string) bool { return l == "." })
	}
	keys := make([]string, len(f.lines))
	at := len(f.lines)
	key := f.key(line)
	for i, l := range f.lines {
		keys[i] = f.key(l)
		if at == len(f.lines) && keys[i] > key {
			at = i
		}
		sorted = sorted || i > 0 && keys[i-1] > keys[i]
	}
	f.lines = slices.Insert(f.lines, at, line)
	if sorted {
		slices.SortStableFunc(f.lines, func(a, b string) int { return strings.Compare(f.key(a), f.key(b)) })
	}
	if f.assign {
		f.lines = append(f.lines, ".")
	}
	f.noLF = false
	return sorted
}

// remove takes out the lines for which is says so, at most max of them (all
// if max is negative), and returns them.
func (f *lineFile) remove(max int, is func(line string) bool) (gone []string) {
	at, last := 0, len(f.lines)-1
	f.lines = slices.DeleteFunc(f.lines, func(l string) bool {
		at++
		if len(gone) == max || !is(l) {
			return false
		}
		gone = append(gone, l)
		if at > last {
			f.noLF = false // it went with its line
		}
		return true
	})
	return gone
}

// key is what vpopmail sorts by: the domain of the line with its last two
// labels first; empty labels do not count. With five labels and more the rest repeats its first two,
// because vpopmail moves the labels over one another.
func (f *lineFile) key(line string) string {
	name, _, _ := strings.Cut(line, ":")
	if f.assign {
		name = strings.TrimSuffix(line, "\n")
		if i := strings.IndexByte(line, ':'); i >= 0 {
			name = line[:i]
		}
		name = name[min(1, len(name)):]
		name = name[:max(0, len(name)-1)]
	}
	labels := strings.FieldsFunc(name, func(c rune) bool { return c == '.' })
	n := len(labels)
	if n < 3 {
		return strings.Join(labels, ".")
	}
	a, b := labels[n-2], labels[n-1]
	for i := 0; i < n-2; i++ {
		labels[i+2] = labels[i]
	}
	labels[0], labels[1] = a, b
	return strings.Join(labels, ".")
}

// indented is how vdeldomain lists alias domains.
func indented(names []string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString("   " + n + "\n")
	}
	return b.String()
}
