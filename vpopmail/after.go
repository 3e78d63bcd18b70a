//go:build unix

package vpopmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// An afterNote lies in a domain's directory while something has to follow a
// change of its records, whatever backend keeps those: the directory of a user
// who was removed, the passwords that sqwebmail reads. It is written before
// the change and gone when all is done; whoever edits the records next
// completes what it names, by what the records say then.
type afterNote struct {
	Version int `json:"qmailkit_after"`
	// Gone is the user who was to be removed. Dir is empty where the directory
	// stays.
	Gone *madeNote `json:"gone,omitempty"`
	// Side is .dir_control_free with the directory that became free.
	Side *sideFile `json:"side,omitempty"`
	// Pass are users whose sqwebmail-pass is to be written.
	Pass []text `json:"pass,omitempty"`

	kept error // why the directory of Gone could not be removed
}

func parseAfter(b []byte) (*afterNote, error) {
	var n afterNote
	if err := json.Unmarshal(b, &n); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotesDamaged, err)
	}
	switch {
	case n.Version != 1:
		return nil, fmt.Errorf("%w: version %d", ErrNotesDamaged, n.Version)
	case n.Gone != nil && n.Gone.Dir != "" && !ownedPath(string(n.Gone.Dir)):
		return nil, fmt.Errorf("%w: directory %q", ErrNotesDamaged, n.Gone.Dir)
	case n.Side != nil && n.Side.Name != freeName:
		return nil, fmt.Errorf("%w: side file %q", ErrNotesDamaged, n.Side.Name)
	}
	return &n, nil
}

// ownedPath says whether a path below a domain's directory can be a user's:
// plain parts, and not a file of vpopmail's or of this package.
func ownedPath(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return plainPath(p) && ownFile(first) == ""
}

// edit is Backend.Edit, after which nothing is left over of a change that was
// cut short.
func (s *Store) edit(ctx context.Context, d *Domain) (Records, error) {
	rec, err := s.backend.Edit(ctx, d)
	if err != nil {
		return nil, err
	}
	if err := s.recoverAfter(ctx, d, rec); err != nil {
		return nil, errors.Join(err, rec.Close())
	}
	return rec, nil
}

func (s *Store) recoverAfter(ctx context.Context, d *Domain, rec Records) error {
	dir, err := s.openDomain(d)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, name := range []string{tempAfter, tempFree} {
		if _, err := dir.Lstat(name); err == nil {
			if err := ignoreMissing(dir.Remove(name)); err != nil {
				return err
			}
		}
	}
	b, ok, err := readFile(dir, afterName)
	if err != nil || !ok {
		return err
	}
	note, err := parseAfter(b)
	if err != nil {
		return fmt.Errorf("%s/%s: %w", d.Dir, afterName, err)
	}
	return s.finishAfter(ctx, d, dir, note, rec.Get)
}

// writeAfter makes the note durable.
func (s *Store) writeAfter(d *Domain, dir *safefs.Dir, n *afterNote) error {
	n.Version = 1
	b, err := noteBytes(n)
	if err != nil {
		return err
	}
	return dir.WriteFile(afterName, safefs.Replacement{Mode: 0o600, Owner: s.owner(d.UID, d.GID), Temp: tempAfter}, b)
}

// finishAfter does what a note says and takes it away. get returns a user as
// the records are now.
func (s *Store) finishAfter(ctx context.Context, d *Domain, dir *safefs.Dir, n *afterNote, get func(string) (User, bool)) error {
	if n.Gone != nil {
		if err := s.finishGone(ctx, d, dir, n, get); err != nil {
			return err
		}
	}
	for _, name := range n.Pass {
		u, ok := get(string(name))
		if !ok {
			continue
		}
		if err := s.writePass(d, &u); err != nil {
			return err
		}
	}
	if err := dir.Remove(afterName); err != nil {
		return err
	}
	return dir.Sync()
}

// finishGone completes a removal, unless the user is there with the same
// directory: then the removal never came to pass, or vpopmail's own programs
// have made the user anew.
func (s *Store) finishGone(ctx context.Context, d *Domain, dir *safefs.Dir, n *afterNote, get func(string) (User, bool)) error {
	gone := string(n.Gone.Dir)
	if u, ok := get(string(n.Gone.Name)); ok && (gone == "" || belowDomain(d, u.Dir) == gone) {
		return nil
	}
	if n.Side != nil {
		if err := s.settleFree(ctx, dir, n.Side); err != nil {
			return err
		}
	}
	if gone == "" {
		return nil
	}
	used, err := s.dirInUse(ctx, d, gone, "")
	if err != nil || used != "" {
		return err
	}
	if err = removeBelow(ctx, dir, gone); stuck(err) {
		// What will not go stays, and holds nobody up: a mounted directory, a
		// file with the attribute immutable.
		n.kept, err = err, nil
	}
	return err
}

// removeBelow removes the tree at a path below dir.
func removeBelow(ctx context.Context, dir *safefs.Dir, path string) error {
	above, name := splitLast(path)
	parent, err := dir.Walk(above)
	if err != nil {
		return ignoreMissing(err)
	}
	defer parent.Close()
	if err := removeTree(ctx, parent, name); err != nil {
		return err
	}
	return parent.Sync()
}

// splitLast parts the last name of a path from those before, "." if none.
func splitLast(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return ".", path
}

// belowDomain is the part of a user's directory below the domain's, with plain
// parts, or empty if it lies elsewhere.
func belowDomain(d *Domain, dir string) string {
	rest, ok := strings.CutPrefix(dir, d.Dir+"/")
	if !ok {
		return ""
	}
	var parts []string
	for part := range strings.SplitSeq(rest, "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	rest = strings.Join(parts, "/")
	if !ownedPath(rest) {
		return ""
	}
	return rest
}

// dirInUse returns the name of an account other than but whose directory is
// path or lies in it; none is empty.
func (s *Store) dirInUse(ctx context.Context, d *Domain, path, but string) (string, error) {
	for u, err := range s.backend.Users(ctx, d) {
		if errors.Is(err, ErrFewColons) {
			continue
		}
		if err != nil {
			return "", err
		}
		at := belowDomain(d, u.Dir)
		if u.Name != but && (at == path || strings.HasPrefix(at, path+"/")) {
			return u.Name, nil
		}
	}
	return "", nil
}

// exists asks about a path below dir without following links.
func exists(dir *safefs.Dir, path string) (bool, error) {
	above, name := splitLast(path)
	d, err := dir.Walk(above)
	if err != nil {
		return false, ignoreMissing(err)
	}
	defer d.Close()
	_, err = d.Lstat(name)
	return err == nil, ignoreMissing(err)
}
