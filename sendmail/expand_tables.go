package sendmail

import (
	"context"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// textMaps are the classes of maps that makemap or newaliases build of a text.
var textMaps = map[string]bool{"hash": true, "btree": true, "dbm": true, "text": true, "cdb": true, "implicit": true}

func (x *Expander) readTables(ctx context.Context) error {
	for name, spec := range x.conf.maps {
		if !textMaps[spec.class] || spec.file == "" {
			continue
		}
		file := strings.TrimSuffix(spec.file, ".db")
		at, fi, err := x.host.lookup(file)
		x.built(file, fi, err == nil)
		if missing(err) && spec.optional {
			continue
		}
		if err == nil && !fi.Mode.IsRegular() {
			err = qmailkit.ErrNotPlain
		}
		where := place{path: x.conf.path, line: spec.line}
		if err != nil {
			x.problems = append(x.problems, where.problem(qmailkit.Error, "map-unreadable", "map %.80q: %w", name, err))
			continue
		}
		f, err := x.host.tree.Open(at)
		if err != nil {
			x.problems = append(x.problems, where.problem(qmailkit.Error, "map-unreadable", "map %.80q: %w", name, err))
			continue
		}
		t, problems, err := ReadTable(ctx, f, &TableOptions{Path: at, MaxBytes: x.host.opts.MaxFile, KeepCase: spec.foldNot})
		f.Close()
		if err != nil {
			return err
		}
		x.problems = append(x.problems, problems...)
		x.tables[name] = t
	}
	return nil
}

// readAliasFiles reads the files of AliasFile: "hash:/a, -o /b".
func (x *Expander) readAliasFiles(ctx context.Context) error {
	for spec := range strings.SplitSeq(x.conf.options["aliasfile"], ",") {
		i := strings.IndexByte(spec, '/')
		if i < 0 {
			if spec = strings.TrimSpace(spec); spec != "" {
				x.problems = append(x.problems, place{path: x.conf.path, line: x.conf.lines["aliasfile"]}.problem(qmailkit.Error,
					"alias-file-unreadable", "the aliases in %.80q are in no file here", spec))
			}
			continue
		}
		if err := x.readAliasFile(ctx, strings.TrimSpace(spec[i:])); err != nil {
			return err
		}
	}
	return nil
}

func (x *Expander) readAliasFile(ctx context.Context, name string) error {
	at, fi, err := x.host.lookup(name)
	x.built(name, fi, err == nil)
	if err == nil && !fi.Mode.IsRegular() {
		err = qmailkit.ErrNotPlain
	}
	var f qmailkit.File
	if err == nil {
		f, err = x.host.tree.Open(at)
	}
	if err != nil {
		x.problems = append(x.problems, place{path: strings.TrimPrefix(name, "/")}.problem(qmailkit.Error, "alias-file-unreadable", "%w", err))
		return nil
	}
	file, problems, err := ReadAliases(ctx, f, &AliasOptions{Path: at, MaxBytes: x.host.opts.MaxFile})
	f.Close()
	if err != nil {
		return err
	}
	x.problems = append(x.problems, problems...)
	af := aliasFile{path: at, file: file, keys: map[string]*Alias{}}
	e := x.expansion(ctx)
	for a := range file.Entries() {
		r, _, _ := e.parse(a.lhs, 0)
		if r != nil && r.state != stateBad && r.has("A") {
			af.keys[lower(r.user)] = a
			continue
		}
		x.problems = append(x.problems, a.place().problem(qmailkit.Error, "alias-not-local", "%.80q is no local name; Sendmail refuses this alias", a.Name))
	}
	x.aliases = append(x.aliases, af)
	return nil
}

// checkSources compares sendmail.cf with the m4 source that it is made of.
func (x *Expander) checkSources() {
	for _, name := range []string{"sendmail.mc", "freebsd.mc", x.conf.macro("j") + ".mc"} {
		if !plainName(name) {
			continue
		}
		source, fi, err := x.host.lookup("etc/mail/" + name)
		if err != nil || !fi.Mode.IsRegular() {
			continue
		}
		where := place{path: source}
		if x.conf.path == "" {
			x.problems = append(x.problems, where.problem(qmailkit.Error, "config-without-cf",
				"there is no sendmail.cf, only its source, which is not read; the rules of a common host are taken"))
			continue
		}
		if cf, err := x.host.tree.Lstat(x.conf.path); err == nil && fi.ModTime.After(cf.ModTime) {
			x.problems = append(x.problems, where.problem(qmailkit.Warning, "config-stale",
				"newer than /%s, which counts: what has changed since %s is not in force on the old host", x.conf.path, cf.ModTime.UTC().Format("2006-01-02 15:04:05")))
		}
	}
}

// databases are what makemap and newaliases build of a text.
var databases = []string{".db", ".cdb", ".pag"}

// built compares a text with the database that Sendmail asks instead of it.
func (x *Expander) built(name string, text qmailkit.FileInfo, there bool) {
	for _, suffix := range databases {
		at, fi, err := x.host.lookup(name + suffix)
		if err != nil || !fi.Mode.IsRegular() {
			continue
		}
		where := place{path: at}
		switch {
		case !there:
			x.problems = append(x.problems, where.problem(qmailkit.Error, "map-without-text",
				"only the database is here, and not the text that it was made of; it is not read"))
		case text.ModTime.After(fi.ModTime):
			x.problems = append(x.problems, where.problem(qmailkit.Warning, "map-stale",
				"the database is older than its text: what has changed since %s is carried, but Sendmail does not know it yet",
				fi.ModTime.UTC().Format("2006-01-02 15:04:05")))
		}
	}
}
