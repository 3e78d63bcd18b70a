package plesk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// courierFiles are where SHORTNAMES=1 lets users log in without their domain.
var courierFiles = [...]string{"etc/courier-imap/imapd", "etc/courier-imap/imapd-ssl", "etc/courier-imap/pop3d", "etc/courier-imap/pop3d-ssl"}

// maxCourier is more than any of them needs.
const maxCourier = 1 << 20

// FindShortNames says whether the servers of POP3 and IMAP on a host take logins
// without domain: SHORTNAMES in the files of courier-imap. psa has a setting of
// its own for it, Server.ShortNames, and the two may differ. Files that are
// missing say no.
func FindShortNames(host qmailkit.Tree) (bool, error) {
	for _, name := range courierFiles {
		on, err := shortNames(host, name)
		if on || err != nil {
			return on, err
		}
	}
	return false, nil
}

func shortNames(host qmailkit.Tree, name string) (bool, error) {
	at, err := qmailkit.Resolve(host, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f, err := host.Open(at)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCourier))
	if err != nil {
		return false, err
	}
	on := false
	for line := range strings.Lines(string(b)) { // a file of sh: the last one counts
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "SHORTNAMES="); ok {
			v, _, _ = strings.Cut(v, "#")
			on = unquoted(strings.TrimSpace(v)) == "1"
		}
	}
	return on, nil
}

// handlersDB is where Plesk from 10 on keeps its mail handlers.
const handlersDB = "var/lib/plesk/mail/handlers/handlers.db"

// standardHandler is made again by Plesk itself.
const standardHandler = "check-quota"

// CheckHandlers tells which mail handlers a source has. They are programs that
// Plesk from 9 on calls for messages of an address, outside of .qmail files;
// those of Plesk are made again by it, others have to be registered by hand, and
// none is carried. Plesk 9 keeps them as directories handlers/POINT/TYPE/ADDRESS
// below PRODUCT_ROOT_D; each is a Problem plesk.mail-handler, whose Path is
// where it stands. Later versions keep them in a database of SQLite, which is
// not read: plesk.handlers-db says how to see them. It belongs to the host, with
// its paths and settings, and is not for copying.
func CheckHandlers(ctx context.Context, host qmailkit.Tree, productRoot string) ([]qmailkit.Problem, error) {
	var probs []qmailkit.Problem
	switch at, err := qmailkit.Resolve(host, handlersDB); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if _, err := host.Lstat(at); err == nil {
			probs = append(probs, qmailkit.Problem{Code: "plesk.handlers-db", Severity: qmailkit.Warning, Path: at,
				Err: errors.New("the mail handlers of this host are its own, and not carried: Plesk makes those of its own anew on the target. Which others there are is not read"),
				Fix: "on this host: " + path.Join(productRoot, "admin/sbin/mail_handlers_control") + " --list; install and register on the target what is not Plesk's"})
		}
	}
	top, err := qmailkit.Resolve(host, strings.TrimPrefix(path.Join(productRoot, "handlers"), "/"))
	if errors.Is(err, fs.ErrNotExist) {
		return probs, nil
	}
	if err != nil {
		return probs, err
	}
	for _, point := range []string{"before-queue", "before-local", "before-remote"} {
		if err := eachDir(ctx, host, top+"/"+point, 2, func(at string, entry string) {
			s, what := qmailkit.Warning, "register it on the target, if it is not Plesk's"
			if strings.Contains(entry, standardHandler) {
				s, what = qmailkit.Info, ""
			}
			probs = append(probs, qmailkit.Problem{Code: "plesk.mail-handler", Severity: s, Path: at + "/" + entry,
				Err: fmt.Errorf("mail handler %q, %s, for %s is not carried", entry, point, path.Base(at)), Fix: what})
		}); err != nil {
			return probs, err
		}
	}
	return probs, nil
}

// eachDir gives the entries of all directories that lie deep levels below dir.
func eachDir(ctx context.Context, host qmailkit.Tree, dir string, deep int, do func(at, entry string)) error {
	names, err := listDir(ctx, host, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return qmailkit.Incomplete(err)
	}
	for _, name := range names {
		if deep == 0 {
			do(dir, name)
			continue
		}
		fi, err := host.Lstat(dir + "/" + name)
		if err != nil || !fi.Mode.IsDir() {
			continue
		}
		if err := eachDir(ctx, host, dir+"/"+name, deep-1, do); err != nil {
			return err
		}
	}
	return nil
}
