package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// oldMaildir is a Maildir as Courier and Dovecot leave it, with names of all
// kinds.
func oldMaildir(t testing.TB, n int) string {
	t.Helper()
	dir := fastDir(t)
	m := filepath.Join(dir, "M")
	for _, folder := range []string{"", ".Sent", ".Work.2004", ".Entw&APw-rfe", ".Empty"} {
		for _, sub := range []string{"tmp", "new", "cur"} {
			if err := os.MkdirAll(filepath.Join(m, folder, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	put := func(name, body string, at int64) {
		t.Helper()
		write(t, filepath.Join(m, name), body)
		when := time.Unix(at, 123_000_000)
		if err := os.Chtimes(filepath.Join(m, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		folder := []string{"", ".Sent", ".Work.2004"}[i%3]
		body := fmt.Sprintf("Subject: %d\n\nbody \x00\xff %d\n%s", i, i, strings.Repeat("x", i%7*1000))
		place := []string{"new/%d.M%dP1.old", "cur/%d.M%dP1.old,S=%d:2,S", "cur/%d.M%dP1.old,S=%d:2,FRSab", "cur/%d.M%dP1.old,S=%d:2,"}[i%4]
		args := []any{1100000000 + i, i}
		if i%4 != 0 {
			args = append(args, len(body))
		}
		put(filepath.Join(folder, fmt.Sprintf(place, args...)), body, int64(1100000000+i))
	}
	put("cur/1100009990.odd", "no info in cur\n", 1100009990)
	put("cur/1100009991.odd:1,x", "experimental\n", 1100009991)
	put("cur/1100009992.odd:2,zS?b", "odd letters\n", 1100009992)
	put("new/1100009993.odd:2,S", "info in new\n", 1100009993)
	put(".Sent/cur/\xff\xfe8-bit name", "", 1100009994)
	put(movedTwice+"S", "twice\n", 1100009989)
	put("new/.hidden", "nobody's", 1)
	put("tmp/1100009995.unfinished", "half", 1)
	if err := os.Symlink("/etc/passwd", filepath.Join(m, "cur", "1100009996.link")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(m, ".Sent", KeywordsName), "0 Junk\n1 $Label1\n")
	write(t, filepath.Join(m, CourierSizes), "/3 5 1100000000\n1100000000.M0P1.old 20 1:1100000000:0\n")
	write(t, filepath.Join(m, CourierUIDs), "1 1100000000 4\n1 1100000000.M0P1.old\n")
	write(t, filepath.Join(m, ".Sent", UIDListName), "3 V1100000000 N9 Gabc\n")
	write(t, filepath.Join(m, CourierSubscribed), "INBOX\nINBOX.Sent\nINBOX.Entw&APw-rfe\n")
	write(t, filepath.Join(m, DovecotSubscribed), "V\t2\n\nSent\nWork\t2004\n")
	if err := os.Mkdir(filepath.Join(m, courierWords), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(m, courierWords, ":list"), "$Label1\n\n1100000000.M0P1.old:0\n")
	write(t, filepath.Join(m, courierWords, ".1.1100000002.M2P1.old"), "$Label2\n")
	return dir
}

// A moved is a run of a transfer.
type moved struct {
	count map[Outcome]int
	errs  []error
	res   *Transferred
	probs []qmailkit.Problem // of the files beside messages
}

func (m *moved) codes() string {
	var list []string
	for _, p := range append(m.res.Problems, m.probs...) {
		list = append(list, p.Code)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// move transfers the Maildir M of one directory into that of another.
func move(t testing.TB, from, to string, copts *CommitOptions, topts *TransferOptions) (*moved, error) {
	t.Helper()
	src, err := os.OpenRoot(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenRoot(to)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	tree := qmailkit.NewTree(src)
	m := &moved{count: map[Outcome]int{}}
	o := TransferOptions{Source: "M"}
	if topts != nil {
		o = *topts
	}
	o.Done = func(e Entry, r Result) {
		m.count[r.Outcome]++
		if r.Err != nil {
			m.errs = append(m.errs, r.Err)
		}
	}
	c := NewCommitter(copts)
	im, err := c.Import(dst, "M", nil)
	if err == nil {
		m.res, err = im.Transfer(t.Context(), tree, "M", &o)
		e := im.Close(func(*Dir) error {
			if err != nil {
				return nil
			}
			m.probs, err = im.CarrySide(t.Context(), tree, "M", m.res.Folders, o.Folder)
			return err
		})
		if err == nil {
			err = e
		}
	}
	if e := c.Close(); err == nil {
		err = e
	}
	return m, err
}

// mail lists messages: place, size, time and content.
func mail(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(filepath.Join(dir, "M"), func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err != nil || !d.Type().IsRegular() || !strings.Contains(rel, "/cur/") && !strings.Contains(rel, "/new/") || d.Name()[0] == '.' {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fi, err := d.Info()
		out[rel] = fmt.Sprintf("%d %v %q", len(b), fi.ModTime().UnixNano(), b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameMail(t testing.TB, want, got map[string]string) {
	t.Helper()
	for name, w := range want {
		if g, ok := got[name]; !ok {
			t.Errorf("%q is missing", name)
		} else if g != w {
			t.Errorf("%q: %.80s, want %.80s", name, g, w)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%q is too many", name)
		}
	}
}

// movedTwice begins the name of a message that an import has made, in the move
// before this one.
const movedTwice = "cur/1100009989.R00112233445566778899aabbccddeeff.qmailkit,S=6:2,"

const oddMail = 6 // messages of oldMaildir beside the counted ones

// TestTransfer moves a Maildir: every name, byte and time is the same, and a
// second run finds nothing to do.
func TestTransfer(t *testing.T) {
	for _, opts := range []*CommitOptions{nil, {NoSyncFS: true, MaxMessages: 7}, {Sync: SyncEach}, {Sync: SyncNone}} {
		from, to := oldMaildir(t, 60), fastDir(t)
		before := snapshot(t, from)
		m, err := move(t, from, to, opts, nil)
		if err != nil || m.count[Delivered] != 60+oddMail || len(m.errs) > 0 || m.codes() != "maildir.not-plain" || m.res.Unfinished != 1 {
			t.Fatalf("%v, %+v, %s", err, m, m.codes())
		}
		want := mail(t, from)
		sameMail(t, want, mail(t, to))
		for _, side := range []string{CourierSizes, CourierUIDs, ".Sent/" + UIDListName, ".Sent/" + KeywordsName, CourierSubscribed, DovecotSubscribed, courierWords + "/:list", courierWords + "/.1.1100000002.M2P1.old"} {
			if a, b := read(t, filepath.Join(from, "M", side)), read(t, filepath.Join(to, "M", side)); a != b {
				t.Errorf("%s: %q, want %q", side, b, a)
			}
		}
		if _, err := os.Stat(filepath.Join(to, "M", ".Empty", "cur")); err != nil {
			t.Error(err)
		}
		first := snapshot(t, to)
		m, err = move(t, from, to, opts, nil)
		if err != nil || m.count[Present] != 60+oddMail || len(m.count) != 1 {
			t.Errorf("again: %v, %v", err, m.count)
		}
		if got := snapshot(t, to); got != first {
			t.Errorf("the second run has changed:\n%s", diff(first, got))
		}
		if got := snapshot(t, from); got != before {
			t.Errorf("the source has changed:\n%s", diff(before, got))
		}
		if n := len(entries(t, filepath.Join(to, "M", "tmp"))); n > 0 {
			t.Errorf("%d files are left under tmp/", n)
		}
	}
}

func rename(t testing.TB, dir, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, "M", from), filepath.Join(dir, "M", to)); err != nil {
		t.Fatal(err)
	}
}

// TestTransferFollows changes both sides between two runs: what changed at the
// source only follows, what changed here stays.
func TestTransferFollows(t *testing.T) {
	from, to := oldMaildir(t, 12), fastDir(t)
	if _, err := move(t, from, to, nil, nil); err != nil {
		t.Fatal(err)
	}
	size := func(i int) int { return len(fmt.Sprintf("Subject: %d\n\nbody \x00\xff %d\n", i, i)) + i%7*1000 }
	three := fmt.Sprintf("cur/1100000003.M3P1.old,S=%d:2,", size(3))
	nine := fmt.Sprintf("cur/1100000009.M9P1.old,S=%d:2,", size(9))
	six := fmt.Sprintf("cur/1100000006.M6P1.old,S=%d:2,", size(6))
	one := fmt.Sprintf(".Sent/cur/1100000001.M1P1.old,S=%d:2,", size(1))
	seven := fmt.Sprintf("cur/1100000007.M7P1.old,S=%d:2,", size(7))

	rename(t, from, "new/1100000000.M0P1.old", "cur/1100000000.M0P1.old:2,S") // read at the source
	rename(t, from, three, three+"F")                                         // flagged at the source
	rename(t, to, nine+"S", nine+"RS")                                        // replied here
	rename(t, from, six+"FRSab", six+"FS")                                    // changed on both sides
	rename(t, to, six+"FRSab", six+"T")
	if err := os.Remove(filepath.Join(to, "M", one+"S")); err != nil { // deleted here
		t.Fatal(err)
	}
	rename(t, from, ".Sent/"+seven, ".Work.2004/"+seven) // moved at the source
	write(t, filepath.Join(from, "M/new/1200000000.fresh"), "just arrived\n")

	rename(t, from, ".Sent/new/1100000004.M4P1.old", ".Sent/cur/1100000004.M4P1.old:2,") // opened at the source
	rename(t, from, movedTwice+"S", movedTwice+"FS")                                     // flagged at the source
	m, err := move(t, from, to, nil, nil)
	if err != nil || m.count[Delivered] != 1 || m.count[Updated] != 5 || m.count[Kept] != 1 || m.count[Failed] != 0 {
		t.Fatalf("%v, %v, %v", err, m.count, m.errs)
	}
	got := mail(t, to)
	for _, name := range []string{"cur/1100000000.M0P1.old:2,S", three + "F", nine + "RS", ".Sent/cur/1100000004.M4P1.old:2,", movedTwice + "FS", six + "T", ".Work.2004/" + seven, "new/1200000000.fresh"} {
		if _, ok := got["M/"+name]; !ok {
			t.Errorf("%q is missing", name)
		}
	}
	if len(got) != 12+oddMail {
		t.Errorf("%d messages: %q", len(got), slices.Sorted(maps.Keys(got)))
	}
	if m, err := move(t, from, to, nil, nil); err != nil || m.count[Delivered]+m.count[Updated]+m.count[Failed] != 0 {
		t.Errorf("again: %v, %v", err, m.count)
	}
}

// TestTransferSideFiles changes the files beside the messages on either side.
func TestTransferSideFiles(t *testing.T) {
	from, to := oldMaildir(t, 3), fastDir(t)
	run := func(wantCodes string) {
		t.Helper()
		if m, err := move(t, from, to, nil, nil); err != nil || m.codes() != strings.TrimSpace("maildir.not-plain "+wantCodes) {
			t.Errorf("%v, %s", err, m.codes())
		}
	}
	run("")
	list := func(dir string) string { return filepath.Join(dir, "M", CourierSizes) }
	write(t, list(from), "/3 6 1100000000\n")
	run("")
	if got := read(t, list(to)); got != "/3 6 1100000000\n" {
		t.Errorf("the list does not follow: %q", got)
	}
	write(t, list(to), "/3 7 1100000000\n")
	run("")
	if got := read(t, list(to)); got != "/3 7 1100000000\n" {
		t.Errorf("the target's list was replaced: %q", got)
	}
	write(t, list(from), "/3 8 1100000000\n")
	run("maildir.side-kept")
	if got := read(t, list(to)); got != "/3 7 1100000000\n" {
		t.Errorf("the target's list was replaced: %q", got)
	}
	if err := os.Remove(filepath.Join(to, "M", CourierSubscribed)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(from, "M", CourierSubscribed), "INBOX\n")
	run("maildir.side-kept")
	if _, err := os.Stat(filepath.Join(to, "M", CourierSubscribed)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that was removed here came back: %v", err)
	}
	// One that was there before any run stays.
	other := fastDir(t)
	if err := os.MkdirAll(filepath.Join(other, "M"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, list(other), "its own\n")
	to = other
	run("maildir.side-kept")
	if got := read(t, list(to)); got != "its own\n" {
		t.Errorf("a foreign list was replaced: %q", got)
	}
}

// TestTransferFolders gives folders other names, in the subscriptions too.
func TestTransferFolders(t *testing.T) {
	from, to := oldMaildir(t, 12), fastDir(t)
	utf8 := func(dir string) (string, error) {
		levels, _ := FolderLevels(dir, UTF7)
		out, _, err := FolderDir(levels, UTF8)
		return out, err
	}
	m, err := move(t, from, to, nil, &TransferOptions{Source: "M", Folder: utf8})
	if err != nil || m.count[Delivered] != 12+oddMail {
		t.Fatalf("%v, %v, %v", err, m.count, m.errs)
	}
	if _, err := os.Stat(filepath.Join(to, "M", ".Entwürfe", "cur")); err != nil {
		t.Error(err)
	}
	if got := read(t, filepath.Join(to, "M", CourierSubscribed)); got != "INBOX\nINBOX.Sent\nINBOX.Entwürfe\n" {
		t.Errorf("subscriptions: %q", got)
	}
	// A name that cannot be: the folder is reported, the rest goes on.
	to = fastDir(t)
	refuse := func(dir string) (string, error) {
		if dir == ".Sent" {
			return "", ErrFolder
		}
		return dir, nil
	}
	m, err = move(t, from, to, nil, &TransferOptions{Source: "M", Folder: refuse})
	if err != nil || m.codes() != "maildir.folder-name maildir.not-plain" || m.count[Failed] != 0 {
		t.Fatalf("%v, %v, %s", err, m.count, m.codes())
	}
}

// TestTransferTwins has two messages of one base in two folders, which is no
// reason to lose one, and a message that is another's by its name.
func TestTransferTwins(t *testing.T) {
	from, to := oldMaildir(t, 0), fastDir(t)
	write(t, filepath.Join(from, "M/cur/5.twin:2,S"), "one\n")
	write(t, filepath.Join(from, "M/.Sent/cur/5.twin:2,"), "two\n")
	write(t, filepath.Join(from, "M/new/6.mine"), "mine\n")
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(to, "M", sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(to, "M/cur/6.mine:2,S"), "of another\n")
	m, err := move(t, from, to, nil, nil)
	if err != nil || m.count[Delivered] != 2+oddMail || m.count[Failed] != 1 || len(m.errs) != 1 || !errors.Is(m.errs[0], ErrNameTaken) {
		t.Fatalf("%v, %v, %v", err, m.count, m.errs)
	}
	got := mail(t, to)
	for name, text := range map[string]string{"M/cur/5.twin:2,S": "one", "M/.Sent/cur/5.twin:2,": "two", "M/cur/6.mine:2,S": "of another"} {
		if !strings.Contains(got[name], text) {
			t.Errorf("%s: %s", name, got[name])
		}
	}
	// Without the journal nothing is doubled.
	if err := os.Remove(filepath.Join(to, "M", JournalName)); err != nil {
		t.Fatal(err)
	}
	if m, err := move(t, from, to, nil, nil); err != nil || m.count[Delivered] != 0 || m.count[Present] != 2+oddMail {
		t.Errorf("without the journal: %v, %v", err, m.count)
	}
}

// A busyTree is a source that changes while it is read.
type busyTree struct {
	qmailkit.Tree
	open func(name string)
}

func (b busyTree) Open(name string) (qmailkit.File, error) {
	b.open(name)
	return b.Tree.Open(name)
}

// TestTransferLive moves a Maildir whose reader opens, deletes, cuts and
// exchanges messages for links at that moment.
func TestTransferLive(t *testing.T) {
	from, to := oldMaildir(t, 40), fastDir(t)
	src, err := os.OpenRoot(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenRoot(to)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	var mu sync.Mutex
	done := map[string]bool{}
	tree := busyTree{qmailkit.NewTree(src), func(name string) {
		mu.Lock()
		defer mu.Unlock()
		path := filepath.Join(from, name)
		switch {
		case done[name] || !strings.Contains(name, "/new/") && !strings.Contains(name, "/cur/"):
			return
		case strings.Contains(name, "M4P"):
			os.Remove(path)
		case strings.Contains(name, "M5P"):
			os.Truncate(path, 3)
		case strings.Contains(name, "M7P"):
			os.Remove(path)
			os.Symlink("/etc/passwd", path)
		}
		done[name] = true
	}}
	c := NewCommitter(&CommitOptions{Writers: 1})
	im, err := c.Import(dst, "M", nil)
	if err != nil {
		t.Fatal(err)
	}
	fates := map[string]Result{}
	if _, err := im.Transfer(t.Context(), tree, "M", &TransferOptions{Done: func(e Entry, r Result) { fates[e.Name.String()] = r }}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(im.Close(nil), c.Close()); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for name, r := range fates {
		want := error(nil)
		switch {
		case strings.Contains(name, "M4P"):
			want = fs.ErrNotExist
		case strings.Contains(name, "M5P"):
			want = errChanged
		case strings.Contains(name, "M7P"):
			want = qmailkit.ErrLink
		}
		if r.Err != nil {
			failed++
		}
		if !errors.Is(r.Err, want) || want == nil && r.Outcome != Delivered {
			t.Errorf("%s: %v, %v", name, r.Outcome, r.Err)
		}
	}
	if failed != 3 || len(mail(t, to)) != 37+oddMail {
		t.Errorf("%d failed, %d are there", failed, len(mail(t, to)))
	}
}

// TestTransferMoving moves a Maildir whose reader moves a message to a folder
// that is still to be read, flags it there, and takes a folder away: nothing
// comes twice, and the next run follows.
func TestTransferMoving(t *testing.T) {
	from, to := oldMaildir(t, 12), fastDir(t)
	src, err := os.OpenRoot(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenRoot(to)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	var once sync.Once
	tree := busyTree{qmailkit.NewTree(src), func(name string) {
		once.Do(func() { // the first message of the INBOX is read
			rename(t, from, "new/1100000000.M0P1.old", ".Sent/cur/1100000000.M0P1.old:2,S")
			if err := os.Rename(filepath.Join(from, "M", ".Empty"), filepath.Join(from, "M", ".Other")); err != nil {
				t.Error(err)
			}
		})
	}}
	c := NewCommitter(&CommitOptions{Writers: 1, MaxMessages: 1})
	im, err := c.Import(dst, "M", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := im.Transfer(t.Context(), tree, "M", &TransferOptions{Source: "M"})
	if err := errors.Join(err, im.Close(nil), c.Close()); err != nil || res.Moved != 2 || len(res.Problems) != 1 {
		t.Fatalf("%v, %d moved, %v", err, res.Moved, res.Problems)
	}
	m, err := move(t, from, to, nil, nil)
	if err != nil || m.res.Moved != 0 || m.count[Delivered]+m.count[Updated] != 1 {
		t.Fatalf("%v, %+v", err, m)
	}
	sameMail(t, mail(t, from), mail(t, to))
}

// TestTransferCutFollowing cuts off, at each step, a run that follows changes
// of the source. The source changes again: the next run follows, because what
// the one before has done is not taken for the owner's doing.
func TestTransferCutFollowing(t *testing.T) {
	follow := func(from, to string, hook safefs.Hook) error {
		src, err := os.OpenRoot(from)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		dst, err := os.OpenRoot(to)
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Close()
		here := map[string]bool{}
		for name := range mail(t, from) {
			n, _ := ParseName(filepath.Base(name))
			here[n.Base()] = true
		}
		c := NewCommitter(&CommitOptions{Writers: 1, hook: hook})
		im, err := c.Import(dst, "M", nil)
		if err != nil {
			return errors.Join(err, c.Close())
		}
		_, err = im.Transfer(t.Context(), qmailkit.NewTree(src), "M", &TransferOptions{Source: "M"})
		return errors.Join(err, im.Close(func(*Dir) error {
			_, err := im.Withdraw(t.Context(), func(e Entry) bool { return !here[e.Name.Base()] })
			return err
		}), c.Close())
	}
	remove := func(from, name string) {
		if err := os.Remove(filepath.Join(from, "M", name)); err != nil {
			t.Fatal(err)
		}
	}
	for at := 1; ; at++ {
		from, to := fastDir(t), fastDir(t)
		for _, dir := range []string{"new", "cur", "tmp", ".A/new", ".A/cur", ".A/tmp"} {
			if err := os.MkdirAll(filepath.Join(from, "M", dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"new/1.a", "cur/2.a:2,S", "cur/3.a:2,", "new/4.a", "cur/5.a:2,", "cur/6.a:2,"} {
			write(t, filepath.Join(from, "M", name), name)
		}
		if err := follow(from, to, nil); err != nil {
			t.Fatal(err)
		}
		rename(t, from, "new/1.a", "cur/1.a:2,")
		rename(t, from, "cur/2.a:2,S", "cur/2.a:2,FS")
		rename(t, from, "cur/3.a:2,", ".A/cur/3.a:2,")
		rename(t, from, "new/4.a", "cur/4.a:2,S")
		remove(from, "cur/5.a:2,")
		remove(from, "cur/6.a:2,")
		f := &faults{mode: "dead", at: at}
		follow(from, to, f.hook)
		rename(t, from, "cur/1.a:2,", "cur/1.a:2,R")
		rename(t, from, "cur/2.a:2,FS", "cur/2.a:2,")
		rename(t, from, ".A/cur/3.a:2,", "cur/3.a:2,S")
		remove(from, "cur/4.a:2,S")
		if err := follow(from, to, nil); err != nil {
			t.Fatal(err)
		}
		sameMail(t, mail(t, from), mail(t, to))
		if t.Failed() {
			t.Fatalf("cut off at step %d, %s", at, f.fired)
		}
		os.RemoveAll(from)
		os.RemoveAll(to)
		if f.fired == "" {
			if at < 10 {
				t.Errorf("%d steps only", at)
			}
			break
		}
	}
}

// TestTransferFaults makes each step of a transfer fail once, die, or meet a
// full disk; the next run is that of a clean one.
func TestTransferFaults(t *testing.T) {
	from := oldMaildir(t, 9)
	clean := fastDir(t)
	if _, err := move(t, from, clean, nil, nil); err != nil {
		t.Fatal(err)
	}
	want := snapshot(t, clean)
	open := openFiles(t)
	for _, mode := range []string{"dead", "once", "full", "short"} {
		for at := 1; ; at += stride(at) {
			f := &faults{mode: mode, at: at}
			to := fastDir(t)
			_, err := move(t, from, to, &CommitOptions{MaxMessages: 4, Writers: 1, hook: f.hook}, nil)
			if f.fired == "" {
				if at < 10 && mode != "short" {
					t.Fatalf("%s: %d steps only", mode, at)
				}
				break
			}
			_ = err // a step whose failure changes nothing may pass
			if n := openFiles(t); n > open {
				t.Fatalf("%s %d (%s): %d descriptors became %d", mode, at, f.fired, open, n)
			}
			m, err := move(t, from, to, nil, nil)
			if err != nil || m.count[Failed] != 0 || m.count[Delivered]+m.count[Present] != 9+oddMail {
				t.Fatalf("%s %d (%s): rerun: %v, %v, %v", mode, at, f.fired, err, m.count, m.errs)
			}
			if got := snapshot(t, to); got != want {
				t.Fatalf("%s %d (%s): not as after a clean run:\n%s", mode, at, f.fired, diff(want, got))
			}
			os.RemoveAll(to)
		}
	}
}
