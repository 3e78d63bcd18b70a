package mailcopy

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/maildir"
)

// seed copies the boxes and seeds the list of their folder; it returns the
// subjects in the list's order, with UIDs and fields.
func (b *bench) seed(style UIDLStyle, boxes ...Box) (n int, list *maildir.UIDList, rows []string) {
	b.t.Helper()
	b.opts.UIDs = true
	defer func() { b.runs++ }()
	_, err := b.tryCopy(b.t.Context(), func(d *maildir.Dir, results []*Result) (err error) {
		n, err = SeedUIDs(d, results, style, time.Unix(seedTime+b.runs, 0))
		return err
	}, boxes...)
	if err != nil {
		b.t.Fatal(err)
	}
	d, err := maildir.OpenRoot(b.root, "md", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	defer d.Close()
	f, err := d.Folder(boxes[0].Folder)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	list, err = f.UIDList()
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil, nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	subject := map[string]string{}
	for name, text := range b.files() {
		e, err := maildir.ParseName(path.Base(name))
		if err != nil {
			b.t.Fatal(err)
		}
		var s string
		fmt.Sscanf(text, "Subject: %s", &s)
		subject[e.Base()] = s
	}
	for _, r := range list.Records {
		rows = append(rows, fmt.Sprint(r.UID, " ", subject[r.Base], " ", r.Fields))
	}
	return n, list, rows
}

func uwMessage(subject string, uid int64, more string) string {
	return fmt.Sprintf("Subject: %s\n%sX-UID: %d\n\nbody of %[1]s\n", subject, more, uid)
}

// seedTime is when all is seeded.
const seedTime = 1_100_000_000

const base = "X-IMAPbase: 1000000000 0000000020\n"

func TestSeedUIDs(t *testing.T) {
	for _, c := range []struct {
		name           string
		style          UIDLStyle
		list           []string
		rows           []string
		validity, next uint32
	}{
		{"kept", NoUIDL,
			[]string{uwMessage("a", 3, base), uwMessage("b", 5, ""), uwMessage("c", 9, "")},
			[]string{"3 a []", "5 b []", "9 c []"}, 1000000000, 21},
		{"with UW's UIDLs", UWUIDL,
			[]string{uwMessage("a", 3, base), uwMessage("b", 5, ""), "Subject: new\n\nlate\n"},
			[]string{"3 a [P3b9aca0000000003]", "5 b [P3b9aca0000000005]", "21 new []"}, 1000000000, 22},
		{"not rising", UWUIDL,
			[]string{uwMessage("c", 9, base), uwMessage("a", 3, ""), uwMessage("b", 15, "")},
			[]string{"9 c [P3b9aca0000000009]", "21 a []", "22 b []"}, 1000000000, 23},
		{"two with one UID", NoUIDL,
			[]string{uwMessage("a", 3, base), uwMessage("b", 3, ""), uwMessage("c", 4, "")},
			[]string{"3 a []", "21 b []", "22 c []"}, 1000000000, 23},
		{"one without, and then more", NoUIDL,
			[]string{uwMessage("a", 3, base), "Subject: new\n\nlate\n", uwMessage("b", 5, "")},
			[]string{"3 a []", "21 new []", "22 b []"}, 1000000000, 23},
		{"the next ones", NoUIDL,
			[]string{uwMessage("a", 21, base), uwMessage("b", 22, ""), uwMessage("c", 24, "")},
			[]string{"21 a []", "22 b []", "23 c []"}, 1000000000, 24},
		{"by a forger", NoUIDL,
			[]string{uwMessage("a", 3, base), uwMessage("b", 2147483647, "")},
			[]string{"3 a []", "21 b []"}, 1000000000, 22},
		{"qpopper's UIDLs", XUIDL,
			[]string{"Subject: a\nX-UIDL: 0123abc\n\na\n", "Subject: b\n\nb\n", "Subject: c\nX-UIDL: not one\n\nc\n"},
			[]string{"1 a [P0123abc]", "2 b []", "3 c []"}, seedTime, 4},
		{"no UIDs at all", NoUIDL, []string{"Subject: a\nX-UIDL: 0123abc\n\na\n"}, nil, 0, 0},
		{"UIDs without a UIDVALIDITY", UWUIDL, []string{uwMessage("a", 3, ""), uwMessage("b", 5, "")}, nil, 0, 0},
		{"a UIDVALIDITY of 0", UWUIDL, []string{uwMessage("a", 3, "X-IMAPbase: 0000000000 0000000020\n")}, nil, 0, 0},
		{"new mail only", NoUIDL, []string{"Subject: a\n" + base + "\na\n"}, []string{"21 a []"}, 1000000000, 22},
		{"numbers that leave no room", UWUIDL,
			[]string{uwMessage("a", 2, "X-IMAPbase: 77 4294967295\n"), uwMessage("b", 4294967294, ""), uwMessage("c", 4294967295, ""), uwMessage("d", 7, "")},
			[]string{"1 a [P0000004d00000002]", "2 b [P0000004dfffffffe]", "3 c [P0000004dffffffff]", "4 d []"}, seedTime, 5},
		{"numbers of more than 32 bits", NoUIDL,
			[]string{uwMessage("a", 3, base), uwMessage("b", 4294967300, ""), uwMessage("c", 9, "")},
			[]string{"3 a []", "21 b []", "22 c []"}, 1000000000, 23},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.write("box", letters(c.list...))
			n, list, rows := b.seed(c.style, b.box("box", ".Sub"))
			diff(t, c.rows, rows)
			if n != len(c.rows) {
				t.Errorf("%d records", n)
			}
			if list == nil {
				return
			}
			diff(t, [2]uint32{c.validity, c.next}, [2]uint32{list.Validity, list.Next})
			if text, err := b.root.ReadFile("md/.Sub/" + maildir.CourierUIDs); err != nil || string(text) != string(list.CourierBytes()) {
				t.Errorf("%v: %s", err, text)
			}
			// As long as no server has read the list, it follows the mbox.
			more := letters(append(slices.Clone(c.list), uwMessage("z", int64(c.next), ""))...)
			b.write("box", more)
			n, list, rows = b.seed(c.style, b.box("box", ".Sub"))
			if n != len(c.rows)+1 || !slices.Equal(rows[:len(c.rows)], c.rows) || !strings.HasPrefix(rows[n-1], fmt.Sprint(c.next, " z ")) {
				t.Errorf("%d records: %q", n, rows)
			}
			if text, err := b.root.ReadFile("md/.Sub/" + maildir.CourierUIDs); err != nil || string(text) != string(list.CourierBytes()) {
				t.Errorf("%v: %s", err, text)
			}
			// A server's list stays.
			list.Fields = []string{"G0123456789abcdef"}
			b.write("md/.Sub/"+maildir.UIDListName, string(list.Bytes()))
			b.write("box", more+letters(uwMessage("y", 25, "")))
			if n, now, _ := b.seed(c.style, b.box("box", ".Sub")); n != 0 || string(now.Bytes()) != string(list.Bytes()) {
				t.Errorf("%d records more:\n%s", n, now.Bytes())
			}
		})
	}
}

// Two boxes of one folder have one list: the UIDs of the second one mean other
// messages to clients.
func TestSeedTwoBoxes(t *testing.T) {
	b := newBench(t)
	b.write("none", letters("Subject: x\n\nx\n"))
	b.write("one", letters(uwMessage("a", 3, base), uwMessage("b", 5, "")))
	b.write("two", letters("Subject: c\nX-IMAPbase: 2000000000 0000000009\nX-UID: 5\n\nc\n", uwMessage("d", 7, "")))
	_, list, rows := b.seed(UWUIDL, b.box("none", "."), b.box("one", "."), b.box("two", "."))
	diff(t, []string{"3 a [P3b9aca0000000003]", "5 b [P3b9aca0000000005]", "21 x []", "22 c [P7735940000000005]", "23 d [P7735940000000007]"}, rows)
	if list.Validity != 1000000000 {
		t.Errorf("UIDVALIDITY %d", list.Validity)
	}
}

// What an earlier run has written stays, whatever became of the mbox, and a run
// that finds nothing new changes nothing.
func TestSeedAgain(t *testing.T) {
	for _, style := range []UIDLStyle{NoUIDL, XUIDL} {
		b := newBench(t)
		all := []string{uwMessage("a", 3, base), uwMessage("b", 5, "X-UIDL: bb\n"), "Subject: c\n\nc\n", "Subject: d\n\nd\n"}
		if style == XUIDL { // without a UIDVALIDITY
			all[0] = "Subject: a\nX-UIDL: aa\n\na\n"
		}
		b.write("box", letters(all...))
		_, first, rows := b.seed(style, b.box("box", "."))
		if _, again, _ := b.seed(style, b.box("box", ".")); string(again.Bytes()) != string(first.Bytes()) {
			t.Errorf("%s\n%s", first.Bytes(), again.Bytes())
		}
		b.write("box", letters(all[0], all[1], all[3], "Subject: e\n\ne\n"))
		_, second, more := b.seed(style, b.box("box", "."))
		if second.Validity != first.Validity || len(more) != 5 || !slices.Equal(more[:4], rows) || more[4] != fmt.Sprint(first.Next, " e []") {
			t.Errorf("%q, then %q", rows, more)
		}
	}
}

// No two folders get the same new UIDVALIDITY.
func TestSeedNewValidity(t *testing.T) {
	b := newBench(t)
	b.write("one", letters("Subject: a\nX-UIDL: 1\n\na\n"))
	b.write("two", letters("Subject: b\nX-UIDL: 2\n\nb\n"))
	_, first, _ := b.seed(XUIDL, b.box("one", "."), b.box("two", ".Sub"))
	_, second, _ := b.seed(XUIDL, b.box("two", ".Sub"), b.box("one", "."))
	if first.Validity != seedTime || second.Validity != seedTime+1 {
		t.Errorf("%d, %d", first.Validity, second.Validity)
	}
}

func TestParseUIDLStyle(t *testing.T) {
	for _, s := range []string{"none", "x-uidl", "uw", ""} {
		if got, err := ParseUIDLStyle(s); err != nil || string(got) != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	if got, err := ParseUIDLStyle("off"); err != nil || got != "" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ParseUIDLStyle("courier"); err == nil {
		t.Error("courier passed")
	}
}
