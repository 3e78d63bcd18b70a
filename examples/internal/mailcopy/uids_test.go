package mailcopy

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"testing"

	"github.com/qmailkit/qmailkit/maildir"
)

// seed copies the boxes and seeds the list of their folder; it returns the
// subjects in the list's order, with UIDs and fields.
func (b *bench) seed(style UIDLStyle, boxes ...Box) (n int, list *maildir.UIDList, rows []string) {
	b.t.Helper()
	b.opts.UIDs = true
	_, err := b.tryCopy(b.t.Context(), func(d *maildir.Dir, results []*Result) (err error) {
		n, err = SeedUIDs(d, results, style)
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

const base = "X-IMAPbase: 1000000000 0000000020\n"

func TestSeedUIDs(t *testing.T) {
	for _, c := range []struct {
		name           string
		style          UIDLStyle
		list           []string
		rows           []string
		validity, next uint32
	}{
		{"in the order of UIDs", NoUIDL,
			[]string{uwMessage("c", 9, base), uwMessage("a", 3, ""), uwMessage("b", 5, "")},
			[]string{"3 a []", "5 b []", "9 c []"}, 1000000000, 21},
		{"with UW's UIDLs", UWUIDL,
			[]string{uwMessage("a", 3, base), "Subject: new\n\nlate\n", uwMessage("b", 5, "")},
			[]string{"3 a [P3b9aca0000000003]", "5 b [P3b9aca0000000005]", "21 new []"}, 1000000000, 22},
		{"two with one UID", NoUIDL,
			[]string{uwMessage("a", 3, base), uwMessage("b", 3, "")},
			[]string{"3 a []", "21 b []"}, 1000000000, 22},
		{"qpopper's UIDLs", XUIDL,
			[]string{"Subject: a\nX-UIDL: 0123abc\n\na\n", "Subject: b\n\nb\n", "Subject: c\nX-UIDL: not one\n\nc\n"},
			[]string{"1 a [P0123abc]", "2 b []", "3 c []"}, 1, 4},
		{"no UIDs at all", NoUIDL, []string{"Subject: a\nX-UIDL: 0123abc\n\na\n"}, nil, 0, 0},
		{"numbers that leave no room", UWUIDL,
			[]string{"Subject: a\nX-IMAPbase: 77 4294967295\nX-UID: 4294967295\n\na\n", uwMessage("b", 4294967294, ""), uwMessage("c", 2, "")},
			[]string{"2 c [P0000004d00000002]", "3 a [P0000004dffffffff]", "4 b [P0000004dfffffffe]"}, 1, 5},
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
			// A list that is there stays.
			before := list.Bytes()
			b.write("box", letters(append(slices.Clone(c.list), uwMessage("z", 19, ""))...))
			if n, list, _ := b.seed(c.style, b.box("box", ".Sub")); n != 0 || string(list.Bytes()) != string(before) {
				t.Errorf("%d records more:\n%s", n, list.Bytes())
			}
		})
	}
}

// Two boxes of one folder have one list.
func TestSeedTwoBoxes(t *testing.T) {
	b := newBench(t)
	b.write("one", letters(uwMessage("a", 3, base), uwMessage("b", 5, "")))
	b.write("two", letters("Subject: c\nX-IMAPbase: 2000000000 0000000009\nX-UID: 5\n\nc\n", uwMessage("d", 7, "")))
	_, list, rows := b.seed(UWUIDL, b.box("one", "."), b.box("two", "."))
	diff(t, []string{"3 a [P3b9aca0000000003]", "5 b [P3b9aca0000000005]", "7 d [P7735940000000007]", "21 c [P7735940000000005]"}, rows)
	if list.Validity != 1000000000 {
		t.Errorf("UIDVALIDITY %d", list.Validity)
	}
}

func TestParseUIDLStyle(t *testing.T) {
	for _, s := range []string{"none", "x-uidl", "uw", ""} {
		if got, err := ParseUIDLStyle(s); err != nil || string(got) != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	if _, err := ParseUIDLStyle("courier"); err == nil {
		t.Error("courier passed")
	}
}
