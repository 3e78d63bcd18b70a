package plesk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNoDomain says that a domain is not in psa.
	ErrNoDomain = errors.New("domain is not in psa")
	// ErrNoDomainID says that the target's psa has no such domain, so that it
	// has no number there. The source's number is of no use on the target.
	ErrNoDomainID = errors.New("the target has no id for the domain")
)

// DomainIDs are the numbers of a host's domains by name, in lower case. They
// stand in control/virtualdomains and users/assign and are that host's own.
type DomainIDs map[string]uint64

// IDs returns the numbers of the host's domains.
func (s *Server) IDs() DomainIDs {
	ids := DomainIDs{}
	for _, d := range s.Domains {
		if _, twice := ids[DirName(d.Name)]; !twice {
			ids[DirName(d.Name)] = d.ID
		}
	}
	return ids
}

// ReadDomainIDs reads the numbers from a live psa: no other table is needed.
// A missing table wraps ErrNoTable, a missing column ErrNoColumn.
func ReadDomainIDs(ctx context.Context, db *sql.DB) (DomainIDs, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	tables, err := readTables(ctx, tx, func(name string) bool { return strings.EqualFold(name, "domains") })
	if err != nil {
		return nil, err
	}
	p := newPsa(tables, "psa")
	if p.tables["domains"] == nil {
		return nil, fmt.Errorf("psa: %w: %q", ErrNoTable, "domains")
	}
	if err := p.domains(); err != nil {
		return nil, fmt.Errorf("psa: %w", err)
	}
	return p.out.IDs(), nil
}

// ID returns the number of a domain. The error wraps ErrNoDomainID.
func (ids DomainIDs) ID(domain string) (uint64, error) {
	if id, ok := ids[DirName(domain)]; ok && id > 0 {
		return id, nil
	}
	return 0, fmt.Errorf("%s: %w", domain, ErrNoDomainID)
}
