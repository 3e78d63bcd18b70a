//go:build unix

package vpopmail

import (
	"context"
	"errors"
)

// RebuildCDB does the job of vmkpasswd: vpasswd.cdb is made anew from vpasswd,
// which somebody may have edited. It is left alone where it is right already.
// An installation that keeps its users elsewhere is errors.ErrUnsupported.
func (s *Store) RebuildCDB(ctx context.Context, domain string) error {
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return err
	}
	b, ok := s.backend.(files)
	if !ok {
		return &Error{Domain: d.Name, Err: errors.ErrUnsupported}
	}
	return b.rebuild(ctx, d)
}

func (b files) rebuild(ctx context.Context, d *Domain) error {
	rec, err := b.s.edit(ctx, d)
	if err != nil {
		return err
	}
	defer rec.Close()
	r := rec.(*fileRecords)
	return r.rebuild(r.v)
}
