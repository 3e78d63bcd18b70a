package sendmail

import "strings"

// DetailRule says for which details a key of a table with plus signs counts
// (cf/README, "VIRTUAL USERS").
type DetailRule uint8

const (
	DetailNone  DetailRule = iota // user@domain: no detail, or any that no other key names
	DetailExact                   // user+detail@domain
	DetailAny                     // user+*@domain: any, an empty one too
	DetailSome                    // user++@domain: any but an empty one
)

// A VirtUser is an entry of virtusertable, taken apart.
type VirtUser struct {
	Entry  *TableEntry
	User   string // in lower case; empty for a whole domain
	Detail string // of DetailExact
	Rule   DetailRule
	Domain string // in lower case
	// Target is the address that mail goes to; %1 stands for the user, %2 for
	// the detail and %3 for the detail with its plus sign.
	Target string
	// Error is what is answered instead, or nil.
	Error *MapError
}

// A MapError is the value "error:..." of a table.
type MapError struct {
	Status string // "5.1.1", or a name of sysexits(3) as it stands
	Code   int    // of the SMTP answer, 0 if none is given
	Text   string
}

// ParseVirtUser takes an entry of virtusertable apart. It is false for a key
// without "@", which no address matches.
func ParseVirtUser(e *TableEntry) (VirtUser, bool) {
	at := strings.LastIndexByte(e.Key, '@')
	if at < 0 {
		return VirtUser{}, false
	}
	v := VirtUser{Entry: e, User: lower(e.Key[:at]), Domain: lower(e.Key[at+1:])}
	if plus := strings.IndexByte(v.User, '+'); plus >= 0 {
		v.Detail, v.User = v.User[plus+1:], v.User[:plus]
		switch v.Detail {
		case "*":
			v.Rule, v.Detail = DetailAny, ""
		case "+":
			v.Rule, v.Detail = DetailSome, ""
		default:
			v.Rule = DetailExact
		}
	}
	if v.Error = parseMapError(e.Value); v.Error == nil {
		v.Target = e.Value
	}
	return v, true
}

// parseMapError reads "error:nouser 550 text", "error:5.7.1:550 text",
// "error:nouser:550 text"; nil for anything else.
func parseMapError(value string) *MapError {
	text, ok := strings.CutPrefix(lower(value), "error:")
	if !ok {
		return nil
	}
	text = value[len(value)-len(text):]
	e := &MapError{Text: text}
	if i := strings.IndexAny(text, ": "); i > 0 && (isStatus(text[:i]) || exitStatus[lower(text[:i])].code != 0) {
		e.Status, e.Text = text[:i], trimBlanks(text[i+1:])
	}
	if len(e.Text) > 3 && e.Text[3] == ' ' && strings.Trim(e.Text[:3], "0123456789") == "" {
		e.Code = int(e.Text[0]-'0')*100 + int(e.Text[1]-'0')*10 + int(e.Text[2]-'0')
		e.Text = trimBlanks(e.Text[4:])
	}
	return e
}
