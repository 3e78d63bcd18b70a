//go:build unix

package vpopmail

import (
	"context"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// freeName is the file of hash directories that removed users have left free.
const freeName = ".dir_control_free"

// freed is the line that a removed user adds to .dir_control_free, empty if
// none (backfill.c): the hash part of his directory. vpopmail 5.4 cuts the
// path where the user's name first occurs in it and takes what stands behind
// the first place of the domain's name, so that a user "om" in "/home/..." is
// not cut off and frees "2/om"; the next user is made in there. That is as
// good a place as any, and is imitated. vpopmail 5.6 looks for the last
// places. A line that would lead out of the domain's directory, or that the
// reader would take for a comment, is left out.
func (p *Profile) freed(d *Domain, u *User) string {
	find := strings.Index
	if p.Release == Release56 {
		find = strings.LastIndex
	}
	path := u.Dir
	i := find(path, u.Name)
	if i < 0 && p.Release == Release56 {
		return ""
	}
	if i >= 0 {
		if i = max(i-1, 0); path[i] == '/' {
			path = path[:i]
		}
	}
	i = find(path, d.Real)
	if i < 0 {
		return ""
	}
	line := strings.TrimPrefix(path[i+len(d.Real):], "/")
	if line == "" || freeDir(line) != line || !ownedPath(line) {
		return ""
	}
	return line
}

// freeSide says how .dir_control_free changes when a line is added.
func freeSide(dir *safefs.Dir, line string) (*sideFile, error) {
	old, ok, err := readFile(dir, freeName)
	if err != nil {
		return nil, err
	}
	after := string(old)
	if after != "" && !strings.HasSuffix(after, "\n") {
		after += "\n"
	}
	f := sideOf(freeName, old, ok, []byte(after+line+"\n"))
	return &f, nil
}

// settleFree brings .dir_control_free to where a removal ends, unless another
// program has changed it since. It is 0600 and root's when it is new, as
// vpopmail makes it.
func (s *Store) settleFree(ctx context.Context, dir *safefs.Dir, f *sideFile) error {
	unlock, err := s.lock(ctx, dir, freeName+".lock", safefs.Keep)
	if err != nil {
		return err
	}
	defer unlock()
	cur, ok, err := readFile(dir, freeName)
	if err != nil || ok != (f.Before != nil) || ok && string(cur) != string(*f.Before) {
		return err
	}
	rep := safefs.Replacement{Mode: 0o600, Owner: safefs.Keep, Inherit: true, Temp: tempFree}
	return dir.WriteFile(freeName, rep, []byte(f.After))
}
