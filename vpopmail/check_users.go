//go:build unix

package vpopmail

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/cdbfile"
	"github.com/qmailkit/qmailkit/internal/passhash"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// records looks at the users of the domain, in vpasswd or wherever the Backend
// keeps them.
func (k *domainCheck) records(ctx context.Context) error {
	var err error
	if k.files {
		err = k.vpasswd(ctx)
	} else {
		err = k.rows(ctx)
	}
	if err == nil && k.count > 0 && !k.names["postmaster"] {
		k.add(finding{"vpopmail.no-postmaster", qmailkit.Warning, k.d.Dir, 0, "add the user"}, "domain %q has no user postmaster", k.d.Name)
	}
	return err
}

func (k *domainCheck) rows(ctx context.Context) error {
	for u, err := range k.s.backend.Users(ctx, k.d) {
		if err := k.on(ctx); err != nil {
			return err
		}
		if err != nil {
			k.trouble(k.d.Dir, err)
			if errors.Is(err, qmailkit.ErrIncomplete) {
				return nil
			}
			continue
		}
		if err := k.user(ctx, &u, finding{path: k.d.Name}); err != nil {
			return err
		}
	}
	return nil
}

// vpasswd looks at the lines of the file and at vpasswd.cdb.
func (k *domainCheck) vpasswd(ctx context.Context) error {
	at := k.at("vpasswd")
	text, ok, err := readFile(k.dir, "vpasswd")
	switch {
	case err != nil:
		k.trouble(at, err)
		return nil
	case !ok:
		k.add(finding{"vpopmail.vpasswd-missing", qmailkit.Error, at, 0, "restore it, or add the users again"}, "domain %q has no users", k.d.Name)
		return nil
	}
	v := ParseVpasswd(text)
	for p := range v.Problems(&k.s.p) {
		p.Path = at
		k.pass(p)
		if err := k.on(ctx); err != nil {
			return err
		}
	}
	for _, name := range []string{"vpasswd", "vpasswd.cdb", ".vpasswd.lock"} {
		k.private(name)
	}
	if err := k.cdb(ctx, v); err != nil {
		return err
	}
	for i, l := range v.lines {
		u, err := ParseLine(bytes.TrimSuffix(l, []byte("\n")))
		if err != nil {
			continue // one of v.Problems
		}
		if err := k.on(ctx); err != nil {
			return err
		}
		if err := k.user(ctx, &u, finding{path: at, line: i + 1}); err != nil {
			return err
		}
	}
	return nil
}

// private asks who can read a file with passwords. vpopmail leaves vpasswd
// readable behind its closed directory.
func (k *domainCheck) private(name string) {
	fi, ok := k.file(name)
	if !ok || !fi.Mode.IsRegular() || fi.Mode.Perm()&0o066 == 0 {
		return
	}
	f := finding{code: "vpopmail.passwords-readable", sev: qmailkit.Info, path: k.at(name), fix: "chmod 0600"}
	if fi.Mode.Perm()&0o022 != 0 {
		f.code, f.sev = "vpopmail.mode", qmailkit.Error
	} else if k.mode&0o011 != 0 {
		f.sev = qmailkit.Error
	}
	k.add(f, "mode %04o in a directory of mode %04o", fi.Mode.Perm(), k.mode)
}

// cdb compares vpasswd.cdb, which answers all look-ups, with vpasswd.
func (k *domainCheck) cdb(ctx context.Context, v *Vpasswd) error {
	f := finding{path: k.at("vpasswd.cdb"), fix: "vmkpasswd " + k.d.Name}
	file, err := again(func() (*os.File, error) { return k.dir.OpenPlain("vpasswd.cdb", safefs.Expect{}) })
	if errors.Is(err, fs.ErrNotExist) {
		f.code, f.sev = "vpopmail.cdb-missing", qmailkit.Warning
		k.add(f, "the next look-up makes it")
		return nil
	}
	if err != nil {
		k.trouble(f.path, err)
		return nil
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil {
		k.trouble(f.path, err)
		return nil
	}
	same := &sameFile{r: file}
	if err := writeCDB(same, v); err == nil && same.end == fi.Size() {
		return nil
	}
	return k.differences(ctx, file, fi.Size(), v, f)
}

// sameFile is written to and compares: Write fails at the first difference.
type sameFile struct {
	r   *os.File
	buf []byte
	end int64
}

var errDiffers = errors.New("another file")

func (s *sameFile) WriteAt(p []byte, off int64) (int, error) {
	if len(s.buf) < len(p) {
		s.buf = make([]byte, len(p))
	}
	n, _ := s.r.ReadAt(s.buf[:len(p)], off)
	if n < len(p) || !bytes.Equal(s.buf[:n], p) {
		return 0, errDiffers
	}
	s.end = max(s.end, off+int64(n))
	return n, nil
}

// differences tells how a vpasswd.cdb answers otherwise than vpasswd says.
func (k *domainCheck) differences(ctx context.Context, file *os.File, size int64, v *Vpasswd, f finding) error {
	f.sev = qmailkit.Error
	db, err := cdbfile.Open(file, size)
	if err != nil {
		f.code = "vpopmail.cdb-damaged"
		k.add(f, "%w", err)
		return nil
	}
	index := v.index()
	found := make(map[string]bool, len(index))
	odd := false
	for rec, err := range db.Records() {
		if err := k.on(ctx); err != nil {
			return err
		}
		if err != nil {
			f.code = "vpopmail.cdb-damaged"
			k.add(f, "%w", err)
			return nil
		}
		name := string(rec.Key)
		i, in := index[name]
		first := !found[name]
		found[name] = true
		switch {
		case !in:
			odd = true
			f.code, f.line = "vpopmail.cdb-extra", 0
			if bytes.Count(rec.Data, []byte(":")) < 5 {
				// The rest of a line that was cut, perhaps in a password.
				k.add(f, "a record of %d bytes that is no user is in it", len(rec.Data))
				continue
			}
			k.add(f, "%q is in it and not in vpasswd", name)
		case first && !bytes.Equal(bytes.TrimSuffix(v.lines[i], []byte("\n")), append([]byte(name+":"), rec.Data...)):
			odd = true
			f.code, f.line = "vpopmail.cdb-differs", i+1
			k.add(f, "%q has another record in it than in this line of vpasswd", name)
		}
	}
	for i, l := range v.lines {
		name := string(nameOf(l))
		if at, ok := index[name]; !ok || at != i || found[name] {
			continue
		}
		odd = true
		f.code, f.line = "vpopmail.cdb-lacks", i+1
		k.add(f, "%q of this line of vpasswd is not in it", name)
		if err := k.on(ctx); err != nil {
			return err
		}
	}
	if !odd {
		f.code, f.sev, f.line = "vpopmail.cdb-stale", qmailkit.Warning, 0
		k.add(f, "the same records, but not the file that vmkpasswd makes")
	}
	return nil
}

// user looks at one record, and then at the user's directory. Path and Line of
// f say where the record stands.
func (k *domainCheck) user(ctx context.Context, u *User, f finding) error {
	k.count++
	k.names[u.Name] = true
	k.name(u, f)
	k.password(u, f)
	k.quota(u, f)
	if ok, rel := k.place(u, f); ok {
		return k.home(ctx, u, rel)
	}
	return nil
}

// name looks at what vpopmail refuses in a record that it did not make itself.
func (k *domainCheck) name(u *User, f finding) {
	f.code, f.sev = "vpopmail.user-name", qmailkit.Error
	switch n, err := k.s.p.User(u.Name); {
	case err != nil:
		k.add(f, "%w", err)
	case n != u.Name:
		k.add(f, "%q has capitals: no look-up finds it", u.Name)
	}
	f.code, f.sev = "vpopmail.user-damaged", qmailkit.Warning
	if u.UID < 0 || u.UID > 2 {
		k.add(f, "%q: uid is %d; vpopmail writes 1, 2 for APOP, 0 in a database", u.Name, u.UID)
	}
	if odd := u.Flags &^ (1<<len(flagLetters) - 1); odd != 0 {
		k.add(f, "%q: gid has the unknown flags %#x", u.Name, uint32(odd))
	}
}

// hashTails are the lengths of what stands behind the last '$'.
var hashTails = map[passhash.Scheme]int{passhash.MD5: 22, passhash.SHA256: 43, passhash.SHA512: 86}

// password looks at the hash as vchkpw would.
func (k *domainCheck) password(u *User, f finding) {
	hash := string(u.Hash)
	if _, inner, ok := strings.Cut(hash, "}"); ok && k.s.p.Release == Release56 && hash[0] == '{' {
		hash = inner // vchkpw of 5.6 passes over one scheme
	}
	scheme := passhash.Classify(hash)
	tail := hash[strings.LastIndexByte(hash, '$')+1:]
	f.sev = qmailkit.Warning
	switch want := hashTails[scheme]; {
	case hash == "" && k.s.p.LearnPasswords:
		f.code = "vpopmail.no-password"
		k.add(f, "%q has no password: the first one that is tried becomes it", u.Name)
	case hash == "":
		f.code, f.sev = "vpopmail.no-password", qmailkit.Info
		k.add(f, "%q has no password", u.Name)
	case len(hash) > k.s.p.MaxHash:
		f.code, f.sev = "vpopmail.hash-damaged", qmailkit.Error
		k.add(f, "%q: the hash has %d bytes, vpopmail reads %d", u.Name, len(hash), k.s.p.MaxHash)
	case scheme == passhash.LDAP, scheme == passhash.Unknown:
		f.code = "vpopmail.hash-scheme"
		k.add(f, "%q: no password opens a hash of the scheme %q", u.Name, scheme)
	case want > 0 && len(tail) != want, scheme == passhash.Bcrypt && len(hash) != 60:
		f.code, f.sev = "vpopmail.hash-damaged", qmailkit.Error
		k.add(f, "%q: the %s hash is cut or has something behind it", u.Name, scheme)
	case k.o.Passwords && u.Clear != "" && passhash.Verify(hash, string(u.Clear)).Verdict == passhash.Mismatch:
		f.code = "vpopmail.clear-differs"
		f.fix = "set the password again"
		k.add(f, "%q: the clear password is another one than the hash's; APOP and CRAM-MD5 take it", u.Name)
	}
}

// quota looks at what vpopmail makes of the quota.
func (k *domainCheck) quota(u *User, f finding) {
	f.code, f.sev = "vpopmail.quota-other", qmailkit.Warning
	counts := ClassicQuota(u.Quota)
	switch {
	case counts == u.Quota:
	case quotaLike(u.Quota):
		k.add(f, "%q: the quota %q counts as %q", u.Name, u.Quota, counts)
		return
	default:
		k.add(f, "%q: what stands in the place of the quota is none", u.Name)
		return
	}
	for part := range strings.SplitSeq(counts, ",") {
		if digits, unit := splitQuota(part); unit == "S" && len(digits) <= 3 {
			f.code = "vpopmail.quota-tiny"
			k.add(f, "%q: the quota is %s bytes: vpopmail makes that of %sG", u.Name, digits, digits)
		}
	}
}

// quotaWord shows a quota, where it is one.
func quotaWord(word string) string {
	switch {
	case word == "", word == NoQuota, quotaLike(word):
		return strconv.Quote(word)
	}
	return "that is none"
}

// quotaLike says whether a word may be shown: where fields are shifted a
// password can stand in its place.
func quotaLike(word string) bool {
	return len(word) <= 24 && word != "" && strings.Trim(word, "0123456789.,+- SCKMGTBsckmgtb") == ""
}

// place finds out where a user's directory is below the domain's, and whether
// there is anything to look at.
func (k *domainCheck) place(u *User, f finding) (ok bool, rel string) {
	f.sev = qmailkit.Error
	rel, below := strings.CutPrefix(u.Dir, k.d.Dir+"/")
	rel = strings.TrimRight(strings.ReplaceAll(rel, "//", "/"), "/")
	switch {
	case !strings.HasPrefix(u.Dir, "/"):
		f.code = "vpopmail.user-damaged"
		k.add(f, "%q: the directory is no absolute path: a colon may have shifted the fields", u.Name)
		return false, ""
	case len(u.Dir) > k.s.p.MaxDir:
		f.code = "vpopmail.user-damaged"
		k.add(f, "%q: the directory has %d bytes, vpopmail reads %d", u.Name, len(u.Dir), k.s.p.MaxDir)
		return false, ""
	case !below || !plainPath(rel):
		f.code = "vpopmail.user-dir-outside"
		k.add(f, "%q: the directory %q is not below that of the domain", u.Name, u.Dir)
		return false, ""
	case k.dirs[rel] != "":
		f.code = "vpopmail.user-dir-shared"
		k.add(f, "%q has the directory of %q", u.Name, k.dirs[rel])
		return false, ""
	}
	k.dirs[rel] = u.Name
	for i, b := range rel {
		if b == '/' {
			k.above[rel[:i]] = true
		}
	}
	return true, rel
}
