package main

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/route"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// controlFile is a line of the kind control: what the functions of qmail's
// control.c and constmap.c make of a file.
type controlFile struct {
	File     jsonl.Bytes `json:"file"`
	Readline struct {
		RC    int         `json:"rc"`
		Value jsonl.Bytes `json:"value"`
	} `json:"readline"`
	Readint struct {
		RC    int  `json:"rc"`
		Value *int `json:"value,omitempty"`
	} `json:"readint"`
	Readfile struct {
		RC      int           `json:"rc"`
		Entries []jsonl.Bytes `json:"entries"`
	} `json:"readfile"`
	Map []controlKey `json:"map"`
	// Kind is the way in which qmail reads the file; without it no program of
	// qmail does.
	Kind string `json:"kind,omitempty"`
}

type controlKey struct {
	Key    jsonl.Bytes `json:"key"`
	Answer jsonl.Bytes `json:"answer"`
}

func controlKind() *cli.Command {
	return &cli.Command{
		Name: "control", Args: "DIR", Min: 1, Max: 1,
		Short: "the files of a control directory, each as qmail's functions read it",
		Long: `DIR is qmail's control directory. Each file is shown in all ways in which qmail
reads files; kind is the one that counts. What cannot be read is told on
standard error.

-check reports instead what in these files breaks mail, and with -root what in
the directory users beside DIR does, and which virtual domains reach nobody. An
error among that makes exit code 3.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			var host routing
			check := fs.Bool("check", false, "report what breaks mail, one problem a line")
			fs.StringVar(&host.root, "root", "", "with -check: the host's file system, mounted at `ROOT`")
			fs.StringVar(&host.passwd, "passwd", "", "with -root: passwd(5) `FILE` of the host (default ROOT/etc/passwd)")
			return printing(func(ctx context.Context, out *lines, args []string) error {
				c, err := readControl(ctx, args[0])
				if err != nil {
					return err
				}
				if *check {
					return host.check(ctx, out, c, args[0])
				}
				if host.root != "" || host.passwd != "" {
					return cli.Usagef("-root and -passwd need -check")
				}
				for e := range c.Entries() {
					if err := printControl(out, c, e); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// readControl reads a control directory.
func readControl(ctx context.Context, dir string) (*qmailcontrol.Config, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return qmailcontrol.LoadConfig(ctx, root)
}

func printControl(out *lines, c *qmailcontrol.Config, e qmailcontrol.Entry) error {
	if e.Link != "" {
		out.env.Printf("%s: a link to %s\n", e.Name, e.Link)
	}
	f, known := qmailcontrol.FileNamed(e.Name)
	l, err := c.Lines(e.Name)
	switch {
	case err != nil && e.Info.Mode.IsDir():
		out.env.Printf("%s: a directory\n", e.Name)
		return nil
	case err != nil:
		out.skip(e.Name, err)
		return nil
	case f.Kind == qmailcontrol.KindCDB:
		return nil
	}
	line := controlFile{File: jsonl.Bytes(e.Name)}
	if known {
		line.Kind = f.Kind.String()
	}
	line.Readline.RC, line.Readline.Value = 1, jsonl.Bytes(l.First())
	if n, ok := l.Int(); ok {
		line.Readint.RC, line.Readint.Value = 1, &n
	}
	line.Readfile.RC, line.Readfile.Entries = 1, []jsonl.Bytes{}
	line.Map = []controlKey{}
	m := l.Map()
	for _, v := range l.Values() {
		line.Readfile.Entries = append(line.Readfile.Entries, jsonl.Bytes(v))
		if key, _, ok := strings.Cut(v, ":"); ok {
			answer, _ := m.Lookup(key)
			line.Map = append(line.Map, controlKey{jsonl.Bytes(key), jsonl.Bytes(answer)})
		}
	}
	return out.print(line)
}

// stopped tells people at which file a program of qmail stops, and says
// whether that is what the error is about.
func stopped(out *lines, err error) bool {
	if !errors.Is(err, qmailcontrol.ErrControls) {
		return false
	}
	out.env.Printf("%v\n", err)
	return true
}

// check prints the problems of a control directory, and those of users where
// the host is known.
func (h *routing) check(ctx context.Context, out *lines, c *qmailcontrol.Config, dir string) error {
	var opts qmailcontrol.CheckOptions
	var found bool
	show := func(problems iter.Seq2[qmailkit.Problem, error], dir string) error {
		for p, err := range problems {
			if err != nil {
				return err
			}
			found = found || p.Severity == qmailkit.Error
			p.Path = dir + p.Path
			if err := out.print(jsonl.Problem(p)); err != nil {
				return err
			}
		}
		return nil
	}
	if h.root != "" {
		router, done, err := h.beside(ctx, dir)
		if err != nil {
			return err
		}
		defer done()
		opts.Reaches = router.Reaches
	}
	if err := show(c.Check(ctx, &opts), ""); err != nil {
		return err
	}
	if h.root != "" {
		full, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		root, err := os.OpenRoot(filepath.Join(filepath.Dir(full), "users"))
		switch {
		case errors.Is(err, fs.ErrNotExist): // qmail-getpw decides alone
		case err != nil:
			return err
		default:
			defer root.Close()
			if err := show(users.Check(ctx, root), "../users/"); err != nil {
				return err
			}
		}
	}
	if found {
		return cli.Partialf("mail breaks on the errors above")
	}
	return nil
}

// beside opens the qmail directory in which the control directory dir stands.
func (h *routing) beside(ctx context.Context, dir string) (*route.Router, func(), error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, nil, err
	}
	if h.passwd == "" {
		h.passwd = filepath.Join(h.root, "etc/passwd")
	}
	h.homes = h.root
	closeHomes, err := h.accounts()
	if err != nil {
		return nil, nil, err
	}
	host, qmail, name, closeTrees, err := trees(h.root, filepath.Dir(dir))
	if err != nil {
		closeHomes()
		return nil, nil, err
	}
	router, err := route.Open(ctx, qmail, name, &route.Options{Files: host, Getpw: h.lspawn.Getpw})
	if err != nil {
		closeTrees()
		closeHomes()
		return nil, nil, err
	}
	return router, func() { router.Close(); closeTrees(); closeHomes() }, nil
}
