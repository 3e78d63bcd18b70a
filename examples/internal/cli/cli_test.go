//go:build unix

package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// tool is a small program with a root command and two subcommands.
func tool(act Action) *App {
	setup := func(fs *flag.FlagSet) Action {
		fs.Bool("json", false, "print `lines` for machines on stdout")
		return act
	}
	return &App{
		Name: "tool", Short: "shows how", Long: "What a tool is for.",
		Root: &Command{Short: "runs the demonstration", Setup: setup},
		Commands: []*Command{
			{Name: "copy", Args: "SRC DST", Short: "copies", Long: "At length.", Min: 2, Max: 2, Setup: setup},
			{Name: "list", Args: "[ITEM...]", Short: "lists", Max: -1, Like: "copy", Setup: setup},
		},
	}
}

func run(a *App, args ...string) (code int, stdout, stderr string) {
	var out, words bytes.Buffer
	code = a.Run(context.Background(), args, strings.NewReader(""), &out, &words)
	return code, out.String(), words.String()
}

func TestArguments(t *testing.T) {
	for _, tc := range []struct {
		name  string
		args  string
		code  int
		got   string // arguments that the command saw, joined
		words string // in stderr
	}{
		{"root", "", Done, "", ""},
		{"root with a flag", "-json", Done, "", ""},
		{"subcommand", "copy a b", Done, "a|b", ""},
		{"flag of a subcommand", "copy -json a b", Done, "a|b", ""},
		{"after --", "copy -- -a b", Done, "-a|b", ""},
		{"any number", "list a b c", Done, "a|b|c", ""},
		{"a lone dash", "copy - -", Done, "-|-", ""},
		{"unknown command", "cpoy a b", Usage, "", `unknown command "cpoy"`},
		{"unknown flag", "copy -x a b", Usage, "", "-x"},
		{"too few", "copy a", Usage, "", "arguments are missing; wanted: SRC DST"},
		{"too many", "copy a b c", Usage, "", `too many arguments, from "c" on`},
		{"late flag", "copy a b -json", Usage, "", "flags come before the arguments"},
		{"argument of root", "-json a", Usage, "", "wanted: none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			seen := ""
			app := tool(func(_ context.Context, _ *Env, args []string) error {
				seen = strings.Join(args, "|")
				return nil
			})
			code, stdout, stderr := run(app, strings.Fields(tc.args)...)
			if code != tc.code || seen != tc.got {
				t.Errorf("exit %d with arguments %q, want %d and %q\n%s", code, seen, tc.code, tc.got, stderr)
			}
			if !strings.Contains(stderr, tc.words) || (tc.words == "") != (stderr == "") {
				t.Errorf("stderr %q, want %q in it", stderr, tc.words)
			}
			if stdout != "" {
				t.Errorf("words on stdout: %q", stdout)
			}
		})
	}
}

func TestCommandNeeded(t *testing.T) {
	app := tool(nil)
	app.Root = nil
	for _, args := range [][]string{nil, {"--"}} {
		code, _, stderr := run(app, args...)
		if code != Usage || !strings.Contains(stderr, "a command is needed: copy, list") {
			t.Errorf("%q: exit %d, %q", args, code, stderr)
		}
	}
	if code, out, _ := run(app, "-h"); code != Done || !strings.Contains(out, "tool copy [flags] SRC DST") {
		t.Errorf("-h: exit %d, %q", code, out)
	}
}

func TestCodes(t *testing.T) {
	plain := errors.New("disk full")
	partial := Partialf("3 mailboxes were left")
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, Done},
		{plain, Stopped},
		{partial, Partial},
		{fmt.Errorf("run: %w", partial), Partial},
		{Usagef("no"), Usage},
		{&Exit{Code: CannotTell}, CannotTell},
		{errors.Join(partial, plain), Stopped},
		{errors.Join(partial, Partialf("and one more")), Partial},
		{fmt.Errorf("%w and %w", partial, Usagef("no")), Usage},
		{&Exit{Code: Partial, Err: plain}, Partial},
	} {
		if got := Code(tc.err); got != tc.want {
			t.Errorf("Code(%v) = %d, want %d", tc.err, got, tc.want)
		}
		code, _, stderr := run(tool(func(context.Context, *Env, []string) error { return tc.err }))
		if code != tc.want {
			t.Errorf("%v: exit %d, want %d", tc.err, code, tc.want)
		}
		if silent := stderr == ""; silent != (tc.err == nil || tc.err.Error() == "exit 4") {
			t.Errorf("%v: stderr %q", tc.err, stderr)
		}
	}
	if e := (&Exit{Partial, plain}); !errors.Is(e, plain) {
		t.Error("Exit does not unwrap")
	}
}

func TestHelp(t *testing.T) {
	code, out, stderr := run(tool(nil), "-h")
	if code != Done || stderr != "" {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
	for _, want := range []string{
		"tool: shows how\n", "  tool [flags]\n        runs the demonstration\n", "  tool copy [flags] SRC DST\n",
		"What a tool is for.", "At length.", "  -json lines\n", "  flags: as copy\n", "  3  done, but something was not carried",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("help lacks %q:\n%s", want, out)
		}
	}
	if _, out, _ := run(tool(nil), "list", "-h"); !strings.Contains(out, "-json lines") || strings.Contains(out, "SRC") {
		t.Errorf("help on list:\n%s", out)
	}
}

func TestHelpListsCommonFlagsOnce(t *testing.T) {
	app := tool(nil)
	app.Commands[1].Like = ""
	app.Common = func(fs *flag.FlagSet) { fs.Bool("json", false, "print `lines` for machines on stdout") }
	_, out, _ := run(app, "-h")
	if n := strings.Count(out, "  -json lines\n"); n != 1 || !strings.Contains(out, "Common flags:\n  -json lines\n") {
		t.Errorf("-json stands %d times in:\n%s", n, out)
	}
	// A flag of the same name that means something else is told.
	app.Common = func(fs *flag.FlagSet) { fs.Bool("json", false, "be `brief`") }
	if _, out, _ := run(app, "-h"); strings.Count(out, "  -json lines\n") != 3 {
		t.Errorf("a flag with its own meaning is left out:\n%s", out)
	}
	if _, out, _ := run(app, "list", "-h"); !strings.Contains(out, "  -json lines\n") {
		t.Errorf("help on list:\n%s", out)
	}
}

func TestPrintfKeepsTerminalsSafe(t *testing.T) {
	_, _, stderr := run(tool(func(_ context.Context, env *Env, _ []string) error {
		env.Printf("mailbox %s\n", "a\x1b[2Jb\xff")
		return errors.New("x\x07y")
	}))
	if want := "mailbox a\\x1b[2Jb\\xff\ntool: x\\x07y\n"; stderr != want {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
}

func TestOwner(t *testing.T) {
	for in, want := range map[string]safefs.Owner{
		"0:0": {UID: 0, GID: 0}, "89:90": {UID: 89, GID: 90}, "4294967294:1": {UID: 4294967294, GID: 1},
	} {
		var o Owner
		if err := o.Set(in); err != nil || o.Or(safefs.Keep) != want || o.String() != in {
			t.Errorf("%q: %v, %v", in, o.Or(safefs.Keep), err)
		}
	}
	for _, in := range []string{"", "89", "89:", ":89", "vpopmail:vchkpw", "-1:-1", "1:2:3", "+1:2", "4294967295:0", "1.89", " 1:2"} {
		var o Owner
		if err := o.Set(in); err == nil || o.Given {
			t.Errorf("%q was taken as %v", in, &o)
		}
	}
	var none Owner
	if none.Or(safefs.Keep) != safefs.Keep || none.String() != "" {
		t.Error("an owner that was not given")
	}
}

func TestStrings(t *testing.T) {
	var s Strings
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	fs.Var(&s, "user", "")
	if err := fs.Parse([]string{"-user", "a,b", "-user=c"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Strings{"a,b", "c"}, s); diff != "" {
		t.Error(diff)
	}
	var out bytes.Buffer
	fs.SetOutput(&out)
	fs.PrintDefaults() // asks a nil *Strings for its words
	if !strings.Contains(out.String(), "-user") {
		t.Error(out.String())
	}
}

func TestWords(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{Printable("Grüße\tx\n"), "Grüße\tx\n"},
		{Printable("a\x00b\r\x7f"), `a\x00b\x0d\x7f`},
		{Printable("\xe9t\xe9"), `\xe9t\xe9`},
		{Printable("\u202egnp.exe \u0085 \ufffd"), "\\u202egnp.exe \\u0085 \ufffd"},
		{Printable("\U000e0041"), `\U000e0041`},
		{Name("a\nb\tc"), `a\x0ab\x09c`},
		{Count(0), "0"}, {Count(999), "999"}, {Count(1000), "1,000"}, {Count(-1234567), "-1,234,567"},
		{Plural(1, "message"), "1 message"}, {Plural(0, "message"), "0 messages"}, {Plural(4000, "mailbox|mailboxes"), "4,000 mailboxes"},
		{Size(0), "0 B"}, {Size(1023), "1023 B"}, {Size(1024), "1.0 KiB"}, {Size(1<<20 - 1), "1.0 MiB"},
		{Size(90e6), "85.8 MiB"}, {Size(1<<63 - 1), "8.0 EiB"}, {Size(-2048), "-2.0 KiB"},
		{Span(800 * time.Millisecond), "0.8 s"}, {Span(42900 * time.Millisecond), "42 s"},
		{Span(185 * time.Second), "3 min 05 s"}, {Span(2*time.Hour + 7*time.Minute + 59*time.Second), "2 h 07 min"},
		{Span(-time.Minute), "-1 min 00 s"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

func ExampleApp() {
	app := &App{
		Name: "greet", Short: "says hello",
		Root: &Command{Args: "NAME", Min: 1, Max: 1, Setup: func(fs *flag.FlagSet) Action {
			loud := fs.Bool("loud", false, "say it loudly")
			return func(_ context.Context, env *Env, args []string) error {
				line := "hello, " + args[0]
				if *loud {
					line = strings.ToUpper(line)
				}
				fmt.Fprintln(env.Stdout, line)
				return nil
			}
		}},
	}
	var out strings.Builder
	code := app.Run(context.Background(), []string{"-loud", "world"}, strings.NewReader(""), &out, io.Discard)
	fmt.Print(out.String(), code)
	// Output:
	// HELLO, WORLD
	// 0
}
