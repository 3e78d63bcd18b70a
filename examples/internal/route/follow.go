//go:build unix

package route

import (
	"context"

	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// An End is where mail for an address comes to rest, or leaves the host.
type End struct {
	// Kind is "mbox", "maildir", "program" (what it does is not known),
	// "remote", "discarded" (nothing is done, and that is success), or what the
	// Fate of Path is where nothing of the kind is reached: "bounced",
	// "deferred", "vanished", "unknown". "again" is an address that was met
	// before: a loop, or another way to the same place.
	Kind string
	// Where is the mailbox from the top of the host's file system, the
	// command, or the address.
	Where string
	// Path is the way there.
	Path *Path
}

// A Way is an address with all that its mail is forwarded to.
type Way struct {
	// Paths begin with that of the address, and have each further address
	// once, in the order in which they are met.
	Paths []*Path
	Ends  []End
	// Cut says that there are more addresses than were to be followed.
	Cut bool
}

// Follow follows an address as Route does, and then each address that its mail
// is forwarded to, at most so many more. An address that is met twice is
// followed once.
func (r *Router) Follow(ctx context.Context, addr string, most int) (*Way, error) {
	w := &Way{}
	met := map[string]bool{addr: true}
	for todo := []string{addr}; len(todo) > 0; todo = todo[1:] {
		p, err := r.Route(ctx, todo[0])
		if err != nil {
			return nil, err
		}
		w.Paths = append(w.Paths, p)
		before, made := len(w.Ends), p.flat()
		for _, d := range made {
			if d.Kind != qmailcontrol.DotForward {
				w.Ends = append(w.Ends, End{Kind: d.Kind.String(), Where: p.place(d), Path: p})
				continue
			}
			switch {
			case met[d.Arg]:
				w.Ends = append(w.Ends, End{Kind: "again", Where: d.Arg, Path: p})
			case len(met) > most:
				w.Cut = true
			default:
				met[d.Arg] = true
				todo = append(todo, d.Arg)
			}
		}
		switch {
		case p.Fate == Sent:
			w.Ends = append(w.Ends, End{Kind: "remote", Where: p.Target.To, Path: p})
		case p.Fate == Delivered && len(made) == 0:
			w.Ends = append(w.Ends, End{Kind: "discarded", Where: p.Addr, Path: p})
		case p.Fate != Delivered && len(w.Ends) == before:
			w.Ends = append(w.Ends, End{Kind: p.Fate.String(), Where: p.Addr, Path: p})
		}
	}
	return w, nil
}

// flat are the deliveries of a path, those of known programs in the place of
// the program.
func (p *Path) flat() []Delivery {
	var all []Delivery
	for _, d := range p.Deliveries {
		if d.Program == nil {
			all = append(all, d)
			continue
		}
		if d.Program.Exit == 0 || d.Program.Exit == 99 {
			all = append(all, d.Program.Deliveries...)
		}
	}
	return all
}

// place is where a delivery leads.
func (p *Path) place(d Delivery) string {
	if d.Kind == qmailcontrol.DotMbox || d.Kind == qmailcontrol.DotMaildir {
		return p.Mailbox(d)
	}
	return d.Arg
}
