package sendmail

import (
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// VacationMessage is the usual name of the text that vacation(1) sends.
const VacationMessage = ".vacation.msg"

// VacationText reads the text that vacation(1) sends for an account: the file
// of that name in the home directory, header lines before the body. In it
// $SUBJECT stands for the subject that the mail had. path is the file.
//
// A missing file, or home directory, is an error that wraps fs.ErrNotExist; one
// of more than a megabyte wraps ErrTooBig.
func (h *Host) VacationText(a *Account, name string) (text []byte, path string, err error) {
	if !plainName(name) {
		return nil, name, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	home, err := h.home(a)
	if err != nil {
		return nil, name, err
	}
	path = join(home, name)
	f, err := h.openOwned(path, a.UID)
	if err != nil {
		return nil, path, err
	}
	defer f.Close()
	text, err = io.ReadAll(bounded(f, 1<<20))
	if err != nil {
		return nil, path, fmt.Errorf("%s: %w", path, err)
	}
	return text, path, nil
}

// A VacationCall is a command that runs vacation(1).
type VacationCall struct {
	// Message is the file that is sent, as the command names it.
	Message string
	// Seconds is how long nobody gets the reply again; negative is for ever.
	Seconds int64
}

// ParseVacation reads a command of a .forward or an alias; ok is false for any
// other program, and for a command that only a shell could take apart. Options
// that decide to whom vacation replies, and where it remembers that, are passed
// over.
func ParseVacation(command string) (c VacationCall, ok bool) {
	if strings.ContainsAny(command, "'\"\\$`;&|<>()*?[]{}~#\n\x00") {
		return c, false
	}
	words := strings.Fields(command)
	if len(words) == 0 || words[0][strings.LastIndexByte(words[0], '/')+1:] != "vacation" {
		return c, false
	}
	c = VacationCall{Message: VacationMessage, Seconds: 7 * 24 * 3600}
	for i := 1; i < len(words); i++ {
		option, isOption := strings.CutPrefix(words[i], "-")
		if !isOption || option == "" {
			continue
		}
		value := option[1:]
		if strings.IndexByte("aCfhmrRst", option[0]) >= 0 && value == "" && i+1 < len(words) {
			i++
			value = words[i]
		}
		switch option[0] {
		case 'm':
			c.Message = value
		case 'r', 't':
			c.Seconds = interval(value)
		case 'i', 'I':
			return c, false // it only empties its memory
		}
	}
	return c, true
}

// interval reads "7", in days, or "12h", with the units of -t; anything else is
// for ever, as vacation takes it.
func interval(s string) int64 {
	unit := int64(24 * 3600)
	if s != "" {
		if u := strings.IndexByte("smhdw", s[len(s)-1]); u >= 0 {
			unit = []int64{1, 60, 3600, 24 * 3600, 7 * 24 * 3600}[u]
			s = s[:len(s)-1]
		}
	}
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' || n > 1_000_000 {
			return -1
		}
		n = 10*n + int64(c-'0')
	}
	if s == "" {
		return -1
	}
	return n * unit
}
