package sendmail

import "strings"

// AccessAction is what an entry of the access map asks for.
type AccessAction uint8

const (
	AccessOther      AccessAction = iota // the value of a tag that is not about accepting mail
	AccessOK                             // accept, whatever other rules say
	AccessRelay                          // accept and relay
	AccessReject                         // refuse
	AccessDiscard                        // accept and throw away
	AccessSkip                           // look no further
	AccessError                          // refuse with a text of one's own
	AccessQuarantine                     // keep in the queue
)

// String returns "other", "ok", "relay", "reject", "discard", "skip", "error"
// or "quarantine".
func (a AccessAction) String() string {
	return [...]string{"other", "ok", "relay", "reject", "discard", "skip", "error", "quarantine", "unknown"}[min(a, AccessQuarantine+1)]
}

// MarshalText gives the same words as String.
func (a AccessAction) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// An Access is an entry of the access map, taken apart (cf/README,
// "ANTI-SPAM CONFIGURATION CONTROL").
type Access struct {
	Entry *TableEntry
	// Tag is in lower case: "connect", "from", "to", "spam" and others; empty
	// means the first three.
	Tag string
	// Key is the address, domain, network or user, in lower case. Network says
	// that it is one, by its octets ("192.0.2") or groups ("IPv6:2001:db8").
	Key     string
	Network bool
	Action  AccessAction
	Error   *MapError // of AccessError, and the text of a quarantine
}

// ParseAccess takes an entry of the access map apart.
func ParseAccess(e *TableEntry) Access {
	a := Access{Entry: e, Key: lower(e.Key)}
	if tag, key, ok := strings.Cut(a.Key, ":"); ok && tag != "ipv6" && !isAddress(a.Key) {
		a.Tag, a.Key = tag, key
	}
	a.Network = strings.HasPrefix(a.Key, "ipv6:") || a.Key != "" && strings.Trim(a.Key, "0123456789.") == "" || strings.Count(a.Key, ":") > 1
	value := lower(e.Value)
	switch value {
	case "ok":
		a.Action = AccessOK
	case "relay":
		a.Action = AccessRelay
	case "reject":
		a.Action = AccessReject
	case "discard":
		a.Action = AccessDiscard
	case "skip":
		a.Action = AccessSkip
	default:
		a.custom(e.Value, value)
	}
	return a
}

// custom takes values with a text: "ERROR:...", "550 text", "QUARANTINE:text".
func (a *Access) custom(value, folded string) {
	if rest, ok := strings.CutPrefix(folded, "quarantine:"); ok {
		a.Action, a.Error = AccessQuarantine, &MapError{Text: value[len(value)-len(rest):]}
		return
	}
	if a.Error = parseMapError(value); a.Error != nil {
		a.Action = AccessError
		return
	}
	if len(value) > 3 && value[3] == ' ' && (value[0] == '4' || value[0] == '5') && strings.Trim(value[:3], "0123456789") == "" {
		a.Action, a.Error = AccessError, parseMapError("error:"+value)
	}
}
