package sendmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// Why Sendmail does not read a .forward or a list. The words are those of
// its log.
var (
	errWritableDir   = errors.New("world writable directory")
	errGroupDir      = errors.New("group writable directory")
	errWritableFile  = errors.New("world writable file")
	errGroupFile     = errors.New("group writable file")
	errSymlink       = errors.New("symbolic links not allowed")
	errHardLink      = errors.New("hard links not allowed")
	errRegular       = errors.New("regular files only")
	errNotPermitted  = errors.New("permission denied")
	errNoSuchFile    = errors.New("no such file or directory")
	errTooManyLevels = errors.New("too many levels of symbolic links")
)

// blamed says whether DontBlameSendmail lets something pass.
func (x *Expander) blamed(word string) bool {
	for w := range strings.FieldsFuncSeq(lower(x.conf.options["dontblamesendmail"]), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if w == word {
			return true
		}
	}
	return false
}

// blame are the names in DontBlameSendmail for one of the two kinds of lists.
type blame struct{ unsafeDir, unsafeDirSafe, groupDir, groupFile, groupFileSafe, worldFile, link string }

var (
	forwardBlame = blame{"forwardfileinunsafedirpath", "forwardfileinunsafedirpathsafe", "forwardfileingroupwritabledirpath",
		"groupwritableforwardfile", "groupwritableforwardfilesafe", "worldwritableforwardfile", "linkedforwardfileinwritabledir"}
	includeBlame = blame{"includefileinunsafedirpath", "includefileinunsafedirpathsafe", "includefileingroupwritabledirpath",
		"groupwritableincludefile", "groupwritableincludefilesafe", "worldwritableincludefile", "linkedincludefileinwritabledir"}
)

// forward reads the first .forward of a user that can be read (alias.c:forward).
func (e *expansion) forward(a *recipient, level int) {
	path, set := e.x.conf.options["forwardpath"]
	switch {
	case !set:
		path = "$z/.forward"
	case path == "":
		return // the administrator wants none
	}
	home := a.account.Home
	switch home {
	case "":
		e.complain(a, complaint{554, "5.3.0", "forward: no home"})
		home = "/no/such/directory"
	case "/":
		home = ""
	}
	macros := map[string]string{"z": home, "u": a.user, "h": a.host}
	for name := range strings.SplitSeq(path, ":") {
		name = e.x.conf.expandWith(name, macros)
		if !strings.HasPrefix(name, "/") || e.stop() {
			continue
		}
		err := e.include(name, true, a, level)
		if err == nil || e.err != nil {
			return
		}
		if !missing(err) && !errors.Is(err, errNoSuchFile) {
			e.problem(place{path: strings.TrimPrefix(name, "/")}, qmailkit.Warning, "forward-refused",
				"Sendmail does not read this .forward of user %.80q: %w", a.account.Name, err)
		}
	}
}

// expandWith replaces macros, of which some are given.
func (c *config) expandWith(text string, given map[string]string) string {
	for name, value := range given {
		text = strings.ReplaceAll(text, "$"+name, value)
		text = strings.ReplaceAll(text, "${"+name+"}", value)
	}
	return c.expandMacros(text)
}

// includeFile reads the list of an :include:.
func (e *expansion) includeFile(a *recipient, level int) {
	a.state = stateIncluded
	if a.from == nil {
		a.fail(550, "5.7.1", "Cannot mail directly to :include:s")
		return
	}
	err := e.include(a.user, false, a, level)
	if err == nil || e.err != nil {
		return
	}
	at := place{path: strings.TrimPrefix(a.user, "/")}
	e.problem(at, qmailkit.Error, "include-refused", "Sendmail does not read this list: %w", err)
	a.fail(550, "5.2.4", "Cannot open %s: %s", a.user, reason(err))
}

// reason is an error without its place.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	if missing(err) {
		err = errNoSuchFile
	}
	return sentence(err)
}

// sentence is an error with a capital letter, as Sendmail's words have one.
func sentence(err error) string {
	text := err.Error()
	if text != "" && text[0] >= 'a' && text[0] <= 'z' {
		text = string(text[0]-'a'+'A') + text[1:]
	}
	return text
}

// include reads a .forward or a list (recipient.c:include). An error says that
// Sendmail would not read it.
func (e *expansion) include(name string, forwarding bool, a *recipient, level int) error {
	e.reads++
	x := e.x
	if !strings.HasPrefix(name, "/") {
		return errNotPermitted // it is looked for in the directory of the queue, which is root's
	}
	uid, gid := x.defaultUser()
	control := a.control()
	if control != nil {
		uid, gid = control.uid, control.gid
	}
	words := includeBlame
	if forwarding {
		words = forwardBlame
	}
	c := fileCheck{e: e, uid: uid, gid: gid}
	dir := name[:strings.LastIndexByte(name, '/')+1]
	dirErr := c.dirs(dir, 0)
	if dirErr != nil && !x.blamed(words.unsafeDir) && !(errors.Is(dirErr, errGroupDir) && x.blamed(words.groupDir)) {
		return dirErr
	}
	if (errors.Is(dirErr, errGroupDir) || errors.Is(dirErr, errWritableDir)) && !x.blamed(words.unsafeDirSafe) {
		a.unsafe = true
	}
	links := dirErr == nil || x.blamed(words.link)
	at, fi, err := c.file(name, forwarding, links, words)
	if err != nil {
		return err
	}
	if !forwarding {
		x.listOwner(a, control, fi)
	}
	f, err := x.host.openOwned(at, fi.UID)
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(maxUserFile)
	if forwarding {
		size = maxForward
	}
	list, problems, err := ReadList(e.ctx, f, &ListOptions{Path: at, MaxBytes: size})
	for _, p := range problems {
		e.problem(place{p.Path, p.Line, p.Offset}, p.Severity, strings.TrimPrefix(p.Code, codePrefix), "%w", p.Err)
	}
	switch cause := context.Cause(e.ctx); {
	case cause != nil:
		e.err = cause
		return cause
	case errors.Is(err, ErrTooBig):
		e.problem(place{path: at}, qmailkit.Error, "list-too-big", "%w", err)
	case err != nil:
		e.err = err
		return err
	}
	if writers := fi.Mode.Perm() & 0o022; writers&0o002 != 0 || writers != 0 && !x.blamed(words.groupFileSafe) {
		a.unsafe = true
	}
	e.includeLines(list, at, forwarding, a, level)
	return nil
}

// maxForward bounds what is read of a .forward, in bytes: it is nobody's mailing
// list.
const maxForward = 256 << 10

// includeLines puts the addresses of a list into the queue.
func (e *expansion) includeLines(list *List, path string, forwarding bool, a *recipient, level int) {
	a.selfRef = false
	kind, n := "include", 0
	if forwarding {
		kind = "forward"
	}
	most, _ := strconv.Atoi(e.x.conf.options["maxforwardentries"])
	for _, l := range list.lines {
		if e.stop() {
			break
		}
		if text := listText(l.raw); text != "" {
			n += e.list(text, a, level+1, func() *Step { return &Step{kind, a.user, path, l.at.line} })
		}
		if forwarding && most > 0 && n >= most {
			e.complain(a, complaint{554, "5.3.5", fmt.Sprintf("Attempt to forward to more than %d addresses (in /%s)!", most, path)})
			break
		}
	}
	if n > 0 && !a.selfRef && (level <= e.levels || a.state != stateTold) {
		a.state = stateDead
	}
}

// listOwner makes the owner of a list the one who runs its programs.
func (x *Expander) listOwner(a, control *recipient, fi qmailkit.FileInfo) {
	if control == nil {
		a.uid, a.gid, a.hasUID = fi.UID, fi.GID, true
	}
	if control != nil && control.uid == fi.UID {
		a.badShell, a.shellUser = a.badShell || control.badShell, control.shellUser
		return
	}
	for _, account := range x.order {
		if account.UID == fi.UID {
			a.shellUser = account.Name
			if control == nil {
				a.account = account
			}
			a.badShell = a.badShell || !x.shellOK(account.Shell)
			return
		}
	}
	a.uid, a.badShell = fi.UID, true
}

// A fileCheck looks at files as safefile.c does for a user.
type fileCheck struct {
	e        *expansion
	uid, gid int
}

// may says whether the user has a permission: 4 to read, 1 to search. Root has
// all. Groups other than that of the account are not known here.
func (c *fileCheck) may(fi qmailkit.FileInfo, bit fs.FileMode) bool {
	switch {
	case c.uid == 0:
		return true
	case fi.UID == c.uid:
		bit <<= 6
	case fi.GID == c.gid:
		bit <<= 3
	}
	return fi.Mode.Perm()&bit != 0
}

// dirs judges every directory on the way to a file (safedirpath). The walk
// begins at the top of the tree, which stands for "/".
func (c *fileCheck) dirs(name string, links int) error {
	if links > 20 {
		return errTooManyLevels
	}
	x := c.e.x
	at := "."
	var worst error
	for _, part := range append([]string{"."}, strings.Split(name, "/")...) {
		switch part {
		case "":
			continue
		case "..":
			at = at[:max(strings.LastIndexByte(at, '/'), 0)]
			if at == "" {
				at = "."
			}
			continue
		}
		if part != "." {
			at = join(at, part)
		}
		fi, err := x.host.tree.Lstat(at)
		if err != nil {
			return err
		}
		if fi.Mode.Type() == fs.ModeSymlink {
			to, err := qmailkit.Resolve(x.host.tree, at)
			if err != nil {
				return err
			}
			if err := c.dirs(to, links+1); err != nil {
				return err
			}
			at = to
			continue
		}
		switch {
		case !fi.Mode.IsDir():
			return errNoSuchFile
		case fi.Mode.Perm()&0o002 != 0 && !(fi.Mode&fs.ModeSticky != 0 && x.blamed("truststickybit")):
			return errWritableDir
		case fi.Mode.Perm()&0o020 != 0 && !x.blamed("groupwritabledirpathsafe"):
			worst = errGroupDir
		case !c.may(fi, 1):
			return errNotPermitted
		}
	}
	return worst
}

// file judges the file itself (safefile) and gives its place without links.
func (c *fileCheck) file(name string, own, links bool, words blame) (string, qmailkit.FileInfo, error) {
	x := c.e.x
	var fi qmailkit.FileInfo
	dir, base := name, ""
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i], name[i+1:]
	}
	parent, err := qmailkit.Resolve(x.host.tree, strings.TrimPrefix(dir, "/"))
	if err != nil {
		return "", fi, err
	}
	switch {
	case base == "":
		return "", fi, errRegular
	case !plainName(base):
		return "", fi, errNoSuchFile
	}
	at := join(parent, base)
	if fi, err = x.host.tree.Lstat(at); err != nil {
		return "", fi, err
	}
	if fi.Mode.Type() == fs.ModeSymlink {
		if !links {
			return "", fi, errSymlink
		}
		if at, fi, err = c.follow(at, parent, own); err != nil {
			return "", fi, err
		}
	}
	switch {
	case !fi.Mode.IsRegular():
		return "", fi, errRegular
	case fi.Nlink > 1 && !links:
		return "", fi, errHardLink
	case fi.Mode.Perm()&0o020 != 0 && !x.blamed(words.groupFile):
		return "", fi, errGroupFile
	case fi.Mode.Perm()&0o002 != 0 && !x.blamed(words.worldFile):
		return "", fi, errWritableFile
	case own && fi.UID != c.uid && fi.UID != 0:
		return "", fi, errNotPermitted
	case !c.may(fi, 4):
		return "", fi, errNotPermitted
	}
	return at, fi, nil
}

// follow gives what a symbolic link leads to, in a directory that nobody but
// its owner can write. One that the administrator made leads anywhere. A user's
// own leads to a file of that user in the same directory and nowhere else:
// Sendmail would read as that user what it led to, and we would read it as root.
func (c *fileCheck) follow(at, dir string, own bool) (string, qmailkit.FileInfo, error) {
	tree := c.e.x.host.tree
	if !own {
		return c.e.x.host.lookup(at)
	}
	to, err := tree.Readlink(at)
	if err != nil {
		return "", qmailkit.FileInfo{}, err
	}
	to = strings.TrimPrefix(to, "/"+dir+"/")
	if !plainName(to) {
		return "", qmailkit.FileInfo{}, fmt.Errorf("%w: %.200q", errSymlink, to)
	}
	fi, err := tree.Lstat(join(dir, to))
	if err == nil && fi.UID != c.uid {
		err = fmt.Errorf("%w: %w", errSymlink, ErrForeign)
	}
	return join(dir, to), fi, err
}
