//go:build unix

package main

import (
	"strconv"
	"strings"
)

// courierUIDLs reads courierpop3dsizelist: the POP3 UIDLs that Courier gives to
// the messages of the inbox, by their bases (courier-libs, pop3dserver.C). The
// first line tells the version: "/3 NEXT UIDVALIDITY", "/2 ...", "/1 NEXT";
// without one the names are the UIDLs. Lines that make no sense are left out.
func courierUIDLs(b []byte) map[string]string {
	list := map[string]string{}
	version := 0
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if v, ok := strings.CutPrefix(line, "/"); ok && len(list) == 0 && version == 0 {
			word, _, _ := strings.Cut(v, " ")
			version, _ = strconv.Atoi(word)
			continue
		}
		// Names may hold blanks: the numbers are the last words.
		words := strings.Split(line, " ")
		tail := 2
		if version == 0 {
			tail = 1
		}
		if len(words) <= tail {
			continue
		}
		base := strings.Join(words[:len(words)-tail], " ")
		base, _, _ = strings.Cut(base, ":")
		if version == 0 {
			list[base] = base
			continue
		}
		parts := strings.Split(words[len(words)-1], ":")
		uidl := "UID" + parts[0]
		switch {
		case parts[0] == "0":
			uidl = base // not numbered
		case len(parts) > 1 && parts[1] != "0":
			uidl += "-" + parts[1]
		}
		list[base] = uidl
	}
	return list
}
