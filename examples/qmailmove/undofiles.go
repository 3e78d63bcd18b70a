//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/plesk"
)

// judge finds the names that are in use: a file or line was changed, or
// something stands in a directory that copy has made which did not come by it.
func (u *undoing) judge(ctx context.Context) error {
	if err := u.judgePlesk(ctx); err != nil {
		return err
	}
	if u.q != nil {
		err := u.q.update(func(f *plesk.UsersFiles) error {
			u.judgeUsers(f)
			return errLook
		})
		if err != nil && !errors.Is(err, errLook) && !missing(err) {
			return err
		}
	}
	for r := range u.t.files.All() {
		rel, name := u.fileOf(r.Key)
		if name == "" || u.stays(name) {
			continue
		}
		ok, err := u.unchanged(rel)
		if err != nil && !missing(err) {
			return err
		}
		if err == nil && !ok {
			u.keep(name, fmt.Sprintf("%s was changed", path.Base(rel)))
		}
	}
	for _, name := range u.names {
		for _, rel := range u.madeDirs(name) {
			if err := u.walk(ctx, rel, false); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				u.keep(name, err.Error())
			}
		}
	}
	return nil
}

// fileOf takes the key of a file's note apart; the name is empty where it is
// none of a mail name of this domain.
func (u *undoing) fileOf(key string) (rel, name string) {
	rel, ok := strings.CutPrefix(key, "file ")
	if !ok {
		return "", ""
	}
	rest, ok := strings.CutPrefix(rel, u.domain+"/")
	if !ok {
		return "", ""
	}
	name, _, ok = strings.Cut(rest, "/")
	if !ok {
		return rel, "" // in the directory of the domain
	}
	return rel, name
}

// madeDirs are the directories of a mail name that copy has made; if it has
// made the first, the others are in it.
func (u *undoing) madeDirs(name string) (list []string) {
	rel := join(u.domain, name)
	if u.foreign[plesk.DirName(name)] {
		return nil
	}
	if _, ok := u.t.files.Get(madeKey + rel); ok {
		return []string{rel}
	}
	for _, sub := range []string{plesk.MaildirName, plesk.AttachmentsName, plesk.SpamName} {
		if _, ok := u.t.files.Get(madeKey + join(rel, sub)); ok {
			list = append(list, join(rel, sub))
		}
	}
	return list
}

// unchanged says whether a file is as copy brought it, or as it is at the
// source: what a killed copy has brought may not be noted.
func (u *undoing) unchanged(rel string) (bool, error) {
	dir, err := safefs.OpenDir(u.dst.root, join(u.dst.mailnames, path.Dir(rel)), nil)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	sum, err := sumOf(dir, path.Base(rel))
	if err != nil {
		return false, err
	}
	var was fileRecord
	if known, err := u.t.files.Load("file "+rel, &was); err != nil || known && was.SHA256 == sum {
		return err == nil, err
	}
	if u.src == nil {
		return false, nil
	}
	f, err := u.src.tree.Open(join(u.src.mailnames, rel))
	if err != nil {
		return false, nil // it is nothing of the source's
	}
	there, err := sumAll(f)
	return err == nil && there == sum, nil
}

// files takes away the files and directories of names that do not stay.
func (u *undoing) files(ctx context.Context) error {
	for _, name := range u.names {
		if !u.stays(name) && len(u.madeDirs(name)) > 0 {
			u.gone[plesk.DirName(name)] = true
		}
	}
	if u.c.dryRun {
		return nil
	}
	var going, marks, forget []state.Record
	for r := range u.t.files.All() {
		rel, name := u.fileOf(r.Key)
		if rel == "" || u.foreign[plesk.DirName(name)] || name != "" && u.stays(name) || name == "" && !u.whole() {
			continue
		}
		var was fileRecord
		if _, err := u.t.files.Load(r.Key, &was); err != nil {
			return err
		}
		was.Undone = true
		b, err := json.Marshal(was)
		if err != nil {
			return err
		}
		going, marks = append(going, r), append(marks, state.Record{Key: r.Key, Value: b})
	}
	// From here on a copy would bring them again.
	if err := u.t.files.Append(marks...); err != nil {
		return err
	}
	for _, r := range going {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := u.takeFile(r); err != nil {
			return err
		}
		forget = append(forget, state.Record{Key: r.Key})
	}
	dirs, err := u.takeDirs(ctx)
	if err != nil {
		return err
	}
	for r := range u.t.files.All() {
		if name, ok := strings.CutPrefix(r.Key, "quota "+u.domain+"/"); ok && !u.stays(name) {
			forget = append(forget, state.Record{Key: r.Key})
		}
	}
	if err := u.t.lock.SyncFS(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return u.t.files.Append(append(forget, dirs...)...)
}

// takeFile removes a file that copy has brought.
func (u *undoing) takeFile(r state.Record) error {
	rel, name := u.fileOf(r.Key)
	var was fileRecord
	if err := json.Unmarshal(r.Value, &was); err != nil {
		return err
	}
	ok, err := u.unchanged(rel)
	if missing(err) || err == nil && (!ok || was.Found && !u.made(rel)) {
		if err == nil && !ok && name == "" {
			u.warn("undo.file", join(u.dst.mailnames, rel), errors.New("was changed, and stays"), "")
		}
		return nil
	}
	if err != nil {
		return err
	}
	dir, err := safefs.OpenDir(u.dst.root, join(u.dst.mailnames, path.Dir(rel)), nil)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Remove(path.Base(rel))
}

// made says whether the directory of a file was made by copy.
func (u *undoing) made(rel string) bool {
	for dir := path.Dir(rel); dir != "."; dir = path.Dir(dir) {
		if _, ok := u.t.files.Get(madeKey + dir); ok {
			return true
		}
	}
	return false
}

// takeDirs removes the directories that copy has made.
func (u *undoing) takeDirs(ctx context.Context) (forget []state.Record, err error) {
	for _, name := range u.names {
		if u.stays(name) {
			continue
		}
		for _, rel := range u.madeDirs(name) {
			if err := u.walk(ctx, rel, true); err != nil {
				// Mail has come, or a reader, since it was judged.
				u.warn("undo.directory", join(u.dst.mailnames, rel), err, "")
				continue
			}
			forget = append(forget, state.Record{Key: madeKey + rel})
		}
	}
	if _, made := u.t.files.Get(madeKey + u.domain); !made || !u.whole() {
		return forget, nil
	}
	top, err := safefs.OpenDir(u.dst.root, u.dst.mailnames, nil)
	if err != nil {
		return forget, err
	}
	defer top.Close()
	if err := top.RemoveDir(u.domain); err != nil && !missing(err) {
		u.problem(qmailkit.Problem{Code: "undo.directory", Severity: qmailkit.Info, Path: join(u.dst.mailnames, u.domain), Err: fmt.Errorf("stays: %w", plainErr(err))})
		return forget, nil
	}
	return append(forget, state.Record{Key: madeKey + u.domain}), nil
}

// walk goes through a directory that copy has made, first to see that all of it
// came by copy; then, if it is to be removed, to do that.
func (u *undoing) walk(ctx context.Context, rel string, remove bool) error {
	d, err := safefs.OpenDir(u.dst.root, join(u.dst.mailnames, rel), nil)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if err := u.clear(ctx, d, rel, false); err != nil || !remove {
		return err
	}
	if err := u.clear(ctx, d, rel, true); err != nil {
		return err
	}
	parent, err := safefs.OpenDir(u.dst.root, join(u.dst.mailnames, path.Dir(rel)), nil)
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.RemoveDir(path.Base(rel))
}

// clear looks at what is in a directory, or removes it.
func (u *undoing) clear(ctx context.Context, d *safefs.Dir, rel string, remove bool) error {
	for e, err := range d.Entries(ctx) {
		if err != nil {
			return err
		}
		at := join(rel, e.Name())
		if !e.IsDir() {
			if err := u.clearFile(d, at, remove); err != nil {
				return err
			}
			continue
		}
		sub, err := d.Sub(e.Name())
		if err != nil {
			return err
		}
		err = u.clear(ctx, sub, at, remove)
		sub.Close()
		if err == nil && remove {
			err = d.RemoveDir(e.Name())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *undoing) clearFile(d *safefs.Dir, at string, remove bool) error {
	below := strings.SplitN(at, "/", 3)[2]
	switch sub := path.Base(path.Dir(below)); {
	case !remove && strings.HasPrefix(below, plesk.MaildirName+"/") && (sub == "new" || sub == "cur"):
		return nil // messages are judged elsewhere; a directory that has any is not removed
	case sideFile(below) || path.Base(below) == partName:
	default:
		ok, err := u.unchanged(at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !ok {
			return fmt.Errorf("%s did not come by copy, or was changed", below)
		}
	}
	if !remove {
		return nil
	}
	return d.Remove(path.Base(at))
}
