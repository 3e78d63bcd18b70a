package qmailkit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The structure of the project: who imports whom, what is documented, what is
// fuzzed. The tests here read all files, those of other systems too.

const module = "github.com/qmailkit/qmailkit"

// ownImports says which packages of this module a package of the library may
// import beside the root package and internal. One that is not listed has to be
// thought about and put here. The format packages know nothing of each other.
var ownImports = map[string][]string{
	".":                  nil,
	"mbox":               nil,
	"maildir":            nil,
	"sendmail":           nil,
	"queue":              nil,
	"qmailcontrol":       nil,
	"qmailcontrol/users": {"qmailcontrol"},
	"vpopmail":           {"maildir", "qmailcontrol", "qmailcontrol/users"},
	"plesk":              {"maildir", "qmailcontrol", "qmailcontrol/users"},

	// For tests, as net/http/httptest is: they may import the package testing.
	"vpopmail/vpopmailtest": {"maildir", "qmailcontrol", "qmailcontrol/users", "vpopmail"},
	"internal/mariadbtest":  nil,

	"internal/safefs":   nil,
	"internal/cdbfile":  nil,
	"internal/passhash": nil,
}

// modules are the modules of others that the library may import, and where;
// nil is everywhere. Whatever else go.mod names is for tests and examples.
var modules = map[string][]string{
	"golang.org/x/sys":                  nil,
	"golang.org/x/sync":                 nil,
	"github.com/emersion/go-maildir":    {"maildir"},
	"github.com/GehirnInc/crypt":        {"internal/passhash"},
	"github.com/go-crypt/crypt":         {"internal/passhash"},
	"github.com/go-crypt/x":             {"internal/passhash"},
	"github.com/sergeymakinen/go-crypt": {"internal/passhash"},
	"github.com/go-sql-driver/mysql":    {"internal/mariadbtest"},
}

// notInLibrary are packages of the standard library that a library which does
// not log, has no flags and starts no programs has no use for.
var notInLibrary = []string{"log", "log/slog", "flag", "testing", "os/exec", "os/signal"}

// parsers are the packages that read what others have written.
var parsers = []string{"mbox", "maildir", "sendmail", "qmailcontrol", "qmailcontrol/users", "vpopmail", "plesk", "queue", "internal/cdbfile", "internal/passhash"}

// A source is a package with all its files.
type source struct {
	rel   string // "." is the root
	dir   string
	doc   string
	fset  *token.FileSet
	files map[string]*ast.File // without tests
	tests map[string]*ast.File
}

func (s *source) library() bool { return !strings.HasPrefix(s.rel+"/", "examples/") }

// forTests says that a package serves tests, those of other modules too.
func (s *source) forTests() bool { return strings.HasSuffix(s.rel, "test") }

func (s *source) at(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", filepath.Join(s.rel, filepath.Base(p.Filename)), p.Line)
}

// sources are the packages of the module.
func sources(t *testing.T) []*source {
	t.Helper()
	all, err := parseAll()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("the go command is not at hand")
	} else if err != nil {
		t.Fatal(err)
	} else if len(all) < 10 {
		t.Fatalf("go list knows %d packages only", len(all))
	}
	return all
}

// parseAll asks the go command for the packages and parses them.
var parseAll = sync.OnceValues(func() (all []*source, err error) {
	// -find leaves imports alone, so that no module has to be at hand.
	cmd := exec.Command("go", "list", "-find", "-json", "./...")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, said.Bytes())
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Dir, Doc                                         string
			GoFiles, CgoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		s := &source{rel: ".", dir: p.Dir, doc: p.Doc, fset: token.NewFileSet(), files: map[string]*ast.File{}, tests: map[string]*ast.File{}}
		if p.ImportPath != module {
			s.rel = strings.TrimPrefix(p.ImportPath, module+"/")
		}
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles) {
			f, err := parser.ParseFile(s.fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				return nil, err
			}
			if strings.HasSuffix(name, "_test.go") {
				s.tests[name] = f
			} else {
				s.files[name] = f
			}
		}
		all = append(all, s)
	}
})

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		may, known := ownImports[s.rel]
		if s.library() && !known {
			t.Errorf("package %s has no line in ownImports", s.rel)
			continue
		}
		for _, f := range s.files {
			for _, spec := range f.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				own, isOwn := strings.CutPrefix(path+"/", module+"/")
				own = strings.TrimSuffix(own, "/")
				switch {
				case !s.library():
				case isOwn && (own == "" || strings.HasPrefix(own, "internal/") || slices.Contains(may, own)):
				case isOwn:
					t.Errorf("%s: package %s imports %s", s.at(spec), s.rel, own)
				case !strings.Contains(strings.Split(path, "/")[0], "."):
					if slices.Contains(notInLibrary, path) && !s.forTests() {
						t.Errorf("%s: the library imports %s", s.at(spec), path)
					}
				case !mayImport(s.rel, path):
					t.Errorf("%s: package %s imports %s", s.at(spec), s.rel, path)
				}
			}
		}
	}
}

func mayImport(rel, path string) bool {
	for m, where := range modules {
		if strings.HasPrefix(path+"/", m+"/") {
			return where == nil || slices.Contains(where, rel)
		}
	}
	return false
}

func TestDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.doc == "" {
			t.Errorf("package %s has no documentation", s.rel)
		}
		for name, f := range s.files {
			if !s.library() || strings.HasSuffix(name, "_generated.go") {
				continue
			}
			for _, d := range f.Decls {
				for _, bare := range undocumented(d) {
					t.Errorf("%s: %s has no documentation", s.at(bare), bare.Name)
				}
			}
		}
	}
}

// undocumented gives the exported names of a declaration that nothing is said
// about. In a group of constants or variables a word before the group, before
// the name or behind it will do; the fields of a struct may speak for
// themselves, the methods of an interface may not.
func undocumented(d ast.Decl) (bare []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || receiver(d.Recv.List[0].Type).IsExported()) {
			bare = append(bare, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					if name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
						bare = append(bare, name)
					}
				}
			case *ast.TypeSpec:
				if !spec.Name.IsExported() {
					continue
				}
				if d.Doc == nil && spec.Doc == nil {
					bare = append(bare, spec.Name)
				}
				if i, ok := spec.Type.(*ast.InterfaceType); ok {
					for _, m := range i.Methods.List {
						if len(m.Names) > 0 && m.Doc == nil && m.Comment == nil {
							bare = append(bare, m.Names[0])
						}
					}
				}
			}
		}
	}
	return bare
}

// receiver is the type name of a method's receiver.
func receiver(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.Ident:
			return x
		default:
			return &ast.Ident{}
		}
	}
}

// TestNoSwitches finds package-level variables that look like settings: the
// library keeps its settings in options.
func TestNoSwitches(t *testing.T) {
	for _, s := range sources(t) {
		for _, f := range s.files {
			for _, d := range f.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok || g.Tok != token.VAR || !s.library() {
					continue
				}
				for _, spec := range g.Specs {
					if v := spec.(*ast.ValueSpec); basic(v) && v.Names[0].Name != "_" {
						t.Errorf("%s: the variable %s could be changed by anybody", s.at(v), v.Names[0])
					}
				}
			}
		}
	}
}

// basic says whether a variable holds a plain number, string or truth value.
func basic(v *ast.ValueSpec) bool {
	if id, ok := v.Type.(*ast.Ident); ok {
		switch id.Name {
		case "bool", "string", "int", "int32", "int64", "uint", "uint32", "uint64", "float64":
			return true
		}
	}
	for _, e := range v.Values {
		switch e := e.(type) {
		case *ast.BasicLit:
			return true
		case *ast.Ident:
			return e.Name == "true" || e.Name == "false"
		}
	}
	return false
}

// TestFuzzed wants a fuzz target in each package that reads what others have
// written, and something for each target to start from.
func TestFuzzed(t *testing.T) {
	for _, s := range sources(t) {
		targets := map[string]bool{}
		for _, f := range s.tests {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
					targets[fn.Name.Name] = true
					if !seeded(fn) {
						t.Errorf("%s: %s adds no seeds", s.at(fn), fn.Name)
					}
				}
			}
			s.checkSamples(t, f)
		}
		if slices.Contains(parsers, s.rel) && len(targets) == 0 {
			t.Errorf("package %s has no fuzz target", s.rel)
		}
		found, err := os.ReadDir(filepath.Join(s.dir, "testdata", "fuzz"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		for _, e := range found {
			inputs, err := os.ReadDir(filepath.Join(s.dir, "testdata", "fuzz", e.Name()))
			if err != nil || len(inputs) == 0 || !targets[e.Name()] {
				t.Errorf("%s/testdata/fuzz/%s serves no target, or holds nothing (%v)", s.rel, e.Name(), err)
			}
		}
	}
}

// seeded says whether a fuzz target calls f.Add, or hands f to a function that
// does.
func seeded(fn *ast.FuncDecl) (ok bool) {
	param := fn.Type.Params.List[0].Names[0].Name
	is := func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		return ok && id.Name == param
	}
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if call, isCall := n.(*ast.CallExpr); isCall {
			sel, isSel := call.Fun.(*ast.SelectorExpr)
			ok = ok || isSel && is(sel.X) && sel.Sel.Name == "Add" || slices.ContainsFunc(call.Args, is)
		}
		return !ok
	})
	return ok
}

// checkSamples wants every directory and every pattern below testdata that a
// test names in one piece to hold something: a pattern that matches nothing
// makes a test that tests nothing.
func (s *source) checkSamples(t *testing.T, f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		name, err := strconv.Unquote(lit.Value)
		if err != nil || !strings.HasPrefix(name, "testdata/") || strings.ContainsAny(name, "% \n") || name == "testdata/" {
			return true
		}
		// It may be the beginning of a name.
		if names, err := filepath.Glob(filepath.Join(s.dir, name) + "*"); err != nil || len(names) == 0 {
			t.Errorf("%s: nothing matches %s", s.at(lit), name)
		}
		return true
	})
}
