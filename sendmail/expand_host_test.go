package sendmail

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

// A node is a file of a sampleTree: with owners and modes, which a plain user
// could not give to real files.
type node struct {
	mode     fs.FileMode // 0 is 0644, or 0755 for a directory
	text     string
	link     string // of a symbolic link
	same     string // of a hard link
	uid, gid int
}

// A sampleTree is a host in memory. Directories that no node speaks of are
// root's, 0755.
type sampleTree map[string]node

func (t sampleTree) info(name string) (qmailkit.FileInfo, bool) {
	n, ok := t[name]
	if !ok {
		if name != "." && !slices.ContainsFunc(t.names(), func(other string) bool { return strings.HasPrefix(other, name+"/") }) {
			return qmailkit.FileInfo{}, false
		}
		n.mode = fs.ModeDir
	}
	fi := qmailkit.FileInfo{Name: name[strings.LastIndexByte(name, '/')+1:], Mode: n.mode, UID: n.uid, GID: n.gid, Nlink: 1}
	if n.same != "" {
		fi, _ = t.info(n.same)
		fi.Nlink = 2
		return fi, true
	}
	for _, other := range t {
		if other.same == name {
			fi.Nlink = 2
		}
	}
	switch {
	case n.link != "":
		fi.Mode |= fs.ModeSymlink | 0o777
	case fi.Mode.Perm() == 0 && fi.Mode.IsDir():
		fi.Mode |= 0o755
	case fi.Mode.Perm() == 0:
		fi.Mode |= 0o644
	}
	fi.Size = int64(len(n.text))
	return fi, true
}

func (t sampleTree) names() []string {
	var names []string
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// through says whether a name leads through a symbolic link, which no Tree
// follows.
func (t sampleTree) through(name string) error {
	for i, c := range name {
		if c == '/' && t[name[:i]].link != "" {
			return &fs.PathError{Op: "open", Path: name, Err: qmailkit.ErrLink}
		}
	}
	return nil
}

func (t sampleTree) Lstat(name string) (qmailkit.FileInfo, error) {
	if err := t.through(name); err != nil {
		return qmailkit.FileInfo{}, err
	}
	fi, ok := t.info(name)
	if !ok {
		return fi, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
	}
	return fi, nil
}

func (t sampleTree) Readlink(name string) (string, error) {
	if n := t[name]; n.link != "" {
		return n.link, nil
	}
	return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
}

func (t sampleTree) ReadDir(_ context.Context, _ string) iter.Seq2[qmailkit.DirEntry, error] {
	return func(func(qmailkit.DirEntry, error) bool) {}
}

func (t sampleTree) Open(name string) (qmailkit.File, error) {
	fi, err := t.Lstat(name)
	if err == nil && !fi.Mode.IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: qmailkit.ErrNotPlain}
	}
	if err != nil {
		return nil, err
	}
	n := t[name]
	if n.same != "" {
		n = t[n.same]
	}
	return memFile{bytes.NewReader([]byte(n.text))}, nil
}

// write puts the host onto the disk, as root.
func (t sampleTree) write(tb testing.TB, dir string) {
	tb.Helper()
	check := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatal(err)
		}
	}
	for _, name := range t.names() {
		n, path := t[name], filepath.Join(dir, name)
		check(os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case n.same != "":
			continue
		case n.link != "":
			check(os.Symlink(n.link, path))
			check(os.Lchown(path, n.uid, n.gid))
			continue
		case n.mode.IsDir():
			check(os.MkdirAll(path, 0o755))
		case n.mode.Type() == fs.ModeNamedPipe:
			check(mkfifo(path))
		default:
			check(os.WriteFile(path, []byte(n.text), 0o644))
		}
		fi, _ := t.info(name)
		check(os.Lchown(path, n.uid, n.gid))
		mode := fi.Mode.Perm() | fi.Mode&fs.ModeSticky
		check(os.Chmod(path, mode))
	}
	for _, name := range t.names() {
		if same := t[name].same; same != "" {
			check(os.Link(filepath.Join(dir, same), filepath.Join(dir, name)))
		}
	}
}

func (t sampleTree) file(name, text string) { t[name] = node{text: text} }

// user gives an account a home directory with these files.
func (t sampleTree) user(name string, uid int, gecos, shell string, files map[string]node) {
	passwd := t["etc/passwd"]
	passwd.text += fmt.Sprintf("%s:x:%d:%d:%s:/home/%s:%s\n", name, uid, uid, gecos, name, shell)
	t["etc/passwd"] = passwd
	group := t["etc/group"]
	group.text += fmt.Sprintf("%s:x:%d:\n", name, uid)
	t["etc/group"] = group
	home := "home/" + name
	t[home] = node{mode: fs.ModeDir | 0o755, uid: uid, gid: uid}
	for file, n := range files {
		if file == "." {
			n.mode |= fs.ModeDir
			n.uid, n.gid = uid, uid
			t[home] = n
			continue
		}
		switch n.uid {
		case 0:
			n.uid, n.gid = uid, uid
		case -1:
			n.uid = 0
		}
		t[home+"/"+file] = n
	}
}

// newSampleHost makes a host with accounts of the system only.
func newSampleHost(tb testing.TB, config string) sampleTree {
	t := sampleTree{}
	t.file("etc/passwd", "root:x:0:0:Charlie Root:/root:/bin/sh\nmail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n"+
		"smmta:x:101:101:x:/var/lib/sendmail:/usr/sbin/nologin\nsmmsp:x:102:102:x:/var/lib/sendmail:/usr/sbin/nologin\n")
	t.file("etc/group", "root:x:0:\nmail:x:8:\nsmmta:x:101:\nsmmsp:x:102:\n")
	t.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
	t.file("etc/hosts", "127.0.0.1 localhost\n192.0.2.1 mail.example.com mail\n")
	t.file("etc/hostname", "mail.example.com\n")
	t.file("etc/shells", "# shells\n/bin/sh\n/bin/bash\n")
	t.file("etc/mail/service.switch", "hosts\tfiles\naliases\tfiles\npasswd\tfiles\n")
	for _, name := range []string{"local-host-names", "virtuser-domains", "virtusertable", "mailertable", "domaintable", "genericstable", "access", "aliases", "lists/aliases"} {
		t.file("etc/mail/"+name, "")
	}
	t["var/spool/mqueue"] = node{mode: fs.ModeDir | 0o700}
	t["var/mail"] = node{mode: fs.ModeDir | 0o755}
	t["home"] = node{mode: fs.ModeDir | 0o755}
	t["root"] = node{mode: fs.ModeDir | 0o700}
	if config != "" {
		t.file("etc/mail/sendmail.cf", configText(tb, config))
	}
	return t
}

// configText is a configuration that m4 has made.
func configText(tb testing.TB, name string) string {
	tb.Helper()
	f, err := os.Open("testdata/expand/" + name + ".cf.gz")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func (t sampleTree) expander(tb testing.TB) *Expander {
	tb.Helper()
	h, err := Open(t, nil)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := h.Expander(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

// verdict writes an expansion as the words of sendmail -bv, sorted, without the
// address in front.
func verdict(tb testing.TB, x *Expander, address string) []string {
	tb.Helper()
	e, err := x.Expand(context.Background(), address)
	if err != nil {
		tb.Fatalf("%q: %v", address, err)
	}
	var lines []string
	for _, d := range e.Deliveries {
		line := "mailer " + d.Mailer
		if d.Host != "" {
			line += ", host " + d.Host
		}
		line += ", user " + d.User
		if d.Kind == DeliverError {
			if strings.HasPrefix(d.Status, "4") && d.Mailer == errorMailer {
				lines = append(lines, sevenBits(line)) // it would wait, so -bv shows it with the others
			}
			line = d.Text
		}
		lines = append(lines, sevenBits(line))
	}
	for _, p := range e.Problems {
		if _, words, ok := strings.Cut(p.Err.Error(), "is refused as a sender: "); ok {
			lines = append(lines, sevenBits(words))
		}
	}
	return sorted(lines)
}

// sevenBits is what -bv prints of a text.
func sevenBits(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] &= 0x7f
	}
	return string(b)
}

// sorted sorts the lines of a verdict. How often it says that the aliases are too
// deep depends on the order in which the ways are gone, and is not compared.
func sorted(lines []string) []string {
	slices.Sort(lines)
	return slices.CompactFunc(lines, func(a, b string) bool { return a == b && strings.HasPrefix(a, "aliasing/forwarding loop broken (") })
}
