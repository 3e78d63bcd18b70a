//go:build unix

package route

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// ErrNoVpopmail says that the files of vpopmail are not at hand.
var ErrNoVpopmail = errors.New("vpopmail's files are not at hand")

// Vpopmail knows what vdelivermail does with mail: its method Hook is a Hook.
// Close it after use.
type Vpopmail struct {
	// Host is the host's file system. The home of vpopmail is where the path
	// of vdelivermail says, HOME/bin/vdelivermail.
	Host *os.Root
	// Home is vpopmail's home, if it is not below Host. It may be nil.
	Home *os.Root
	// Qmail is the directory with control and users.
	Qmail *os.Root
	// Users stands in for the directory users where that is a link which leads
	// out of Qmail. It may be nil.
	Users *os.Root
	// Extensions says that vpopmail was built with address extensions, which
	// no file tells.
	Extensions bool
	// Backend keeps the users' records; nil is vpasswd.
	Backend vpopmail.Backend
	// Store is asked, whatever the home, by who has the installation open
	// already; then nothing else here is needed. It may be nil.
	Store *vpopmail.Store

	mu     sync.Mutex
	stores map[string]*vpopmail.Store
	opened []*os.Root
}

// Close gives back what was opened. Host, Home and Qmail stay open.
func (v *Vpopmail) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var err error
	for _, r := range v.opened {
		err = errors.Join(err, r.Close())
	}
	v.opened, v.stores = nil, nil
	return err
}

// Hook is a Hook: it follows vdelivermail through the accounts and the user's
// own .qmail file.
func (v *Vpopmail) Hook(ctx context.Context, p Program) (*Result, error) {
	line, ok := vpopmail.ParseDeliveryLine(p.Command)
	if !ok {
		return nil, nil
	}
	env := map[string]string{}
	for _, e := range p.Plan.Environ(time.Time{}) {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	in, err := vpopmail.NewIncoming(line.Args, func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	var bad *vpopmail.DeliveryError
	if errors.As(err, &bad) {
		return &Result{Exit: bad.Status, Report: strings.TrimSpace(bad.Text)}, nil
	}
	s, err := v.store(line.Home)
	if err != nil {
		return nil, err
	}
	plan, err := s.DeliveryPlan(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := v.known(s, plan); err != nil {
		return nil, err
	}
	return planned(plan), nil
}

// planned is a plan in the words of a Router.
func planned(plan *vpopmail.DeliveryPlan) *Result {
	r := &Result{Exit: plan.Status}
	if plan.Err != nil {
		r.Report = strings.TrimSpace(plan.Text)
		if r.Report == "" {
			r.Report = plan.Err.Error()
		}
	}
	for _, st := range plan.Steps {
		d := Delivery{Arg: st.Arg}
		switch st.Kind {
		case vpopmail.DeliverMaildir:
			d.Kind, d.Arg = qmailcontrol.DotMaildir, st.Arg+"/"
		case vpopmail.DeliverForward:
			d.Kind = qmailcontrol.DotForward
		case vpopmail.DeliverProgram:
			d.Kind = qmailcontrol.DotProgram
		}
		r.Deliveries = append(r.Deliveries, d)
	}
	return r
}

// known says whether an answer of nobody is one: users in a database leave no
// vpasswd.
func (v *Vpopmail) known(s *vpopmail.Store, plan *vpopmail.DeliveryPlan) error {
	if v.Store != nil || v.Backend != nil || plan.User != nil || plan.Domain == nil || plan.By != "catch-all" {
		return nil
	}
	root, name, err := s.Place(plan.Domain.Dir)
	if err != nil {
		return err
	}
	for _, file := range []string{"/vpasswd.cdb", "/vpasswd"} {
		if _, err := root.Lstat(name + file); err == nil {
			return nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("%w: %s has no vpasswd: its users may be in a database", ErrNoVpopmail, plan.Domain.Name)
}

// store opens the installation with this home.
func (v *Vpopmail) store(home string) (*vpopmail.Store, error) {
	if v.Store != nil {
		return v.Store, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.stores[home]; s != nil {
		return s, nil
	}
	if v.Qmail == nil || v.Home == nil && (v.Host == nil || !strings.HasPrefix(home, "/")) {
		return nil, fmt.Errorf("%w: home %q", ErrNoVpopmail, home)
	}
	root := v.Home
	if root == nil {
		name, err := qmailkit.Resolve(qmailkit.NewTree(v.Host), strings.Trim(home, "/"))
		if err == nil {
			root, err = v.Host.OpenRoot(name)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoVpopmail, err)
		}
		v.opened = append(v.opened, root)
	}
	profile := vpopmail.DefaultProfile54()
	found, err := vpopmail.DetectProfile(root, v.Qmail)
	if err == nil {
		profile = found.Profile
	} else if v.Users == nil {
		return nil, err
	}
	profile.AddressExtensions = v.Extensions
	o := vpopmail.Options{Profile: &profile, Backend: v.Backend, Users: v.Users}
	if strings.HasPrefix(home, "/") {
		o.Profile.Home = home
	}
	if v.Host != nil {
		o.Mounts = []vpopmail.Mount{{Path: "/", Root: v.Host}}
	}
	s, err := vpopmail.Open(root, v.Qmail, &o)
	if err != nil {
		return nil, err
	}
	if v.stores == nil {
		v.stores = map[string]*vpopmail.Store{}
	}
	v.stores[home] = s
	return s, nil
}
