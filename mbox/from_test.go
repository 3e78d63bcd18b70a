package mbox

import (
	"errors"
	"testing"
	"time"
)

// TestParseFrom has the dates of section 2 of the mbox survey, from real files.
func TestParseFrom(t *testing.T) {
	utc := func(y, m, d, h, min, s int) time.Time {
		return time.Date(y, time.Month(m), d, h, min, s, 0, time.UTC)
	}
	for _, c := range []struct {
		line   string
		shape  shape
		sender string
		date   time.Time // zero: none
	}{
		{"From a@b Sat Jan  3 01:05:34 1996", dated, "a@b", utc(1996, 1, 3, 1, 5, 34)},
		{"From a@b Sat Jan 3 01:05:34 1996", dated, "a@b", utc(1996, 1, 3, 1, 5, 34)},
		{"From a@b  Sat Jan 03 01:05:34 1996\n", dated, "a@b", utc(1996, 1, 3, 1, 5, 34)},
		{"From a@b Sat Jan  3 01:05 1996\r\n", dated, "a@b", utc(1996, 1, 3, 1, 5, 0)},
		{"From a@b Sat Jan  3 01:05:26 96", dated, "a@b", utc(1996, 1, 3, 1, 5, 26)},
		{"From a@b Sat Jan  3 01:05:26 20", dated, "a@b", utc(2020, 1, 3, 1, 5, 26)},
		{"From a@b Fri Feb 22 23:00:00 2008 +0200", dated, "a@b", utc(2008, 2, 22, 21, 0, 0)},
		{"From a@b Fri Feb 22 23:00:00 2008 +0530", dated, "a@b", utc(2008, 2, 22, 17, 30, 0)},
		{"From a@b Mon Jan  5 08:50:15 +0100 2004", dated, "a@b", utc(2004, 1, 5, 7, 50, 15)},
		{"From a@b Wed Jul  1 02:44:06 1998 MEST", dated, "a@b", utc(1998, 7, 1, 0, 44, 6)},
		{"From a@b Wed Jul  1 02:44:06 1998 WETDST", dated, "a@b", utc(1998, 7, 1, 1, 44, 6)},
		{"From a@b Wed Jul  1 02:44:06 MET DST 1998", dated, "a@b", utc(1998, 7, 1, 0, 44, 6)},
		{"From a@b Wed Jul  1 02:44:06 EST 1998", dated, "a@b", utc(1998, 7, 1, 7, 44, 6)},
		{"From 1844@xxx Tue May 20 10:17:52 +0000 2025", dated, "1844@xxx", utc(2025, 5, 20, 10, 17, 52)},
		{"From d@e Sun, 11 Nov 2007 06:58:35 +0200", dated, "d@e", utc(2007, 11, 11, 4, 58, 35)},
		{"From d@e Thu, 9 Nov 2002 22:33:52", dated, "d@e", utc(2002, 11, 9, 22, 33, 52)},
		{"From d@e 2007-11-11T06:58:35+02:00", dated, "d@e", utc(2007, 11, 11, 4, 58, 35)},
		{"From d@e 2007-11-11 06:58:35.25Z", dated, "d@e", utc(2007, 11, 11, 6, 58, 35)},
		{"From - Mon June 02 12:00:00 1997", dated, "-", utc(1997, 6, 2, 12, 0, 0)},
		{"From x SaT jAN  3 01:05:34 1996", dated, "x", utc(1996, 1, 3, 1, 5, 34)},
		{"From x Sat Jan  3 12:05:34 AM 1996", dated, "x", utc(1996, 1, 3, 0, 5, 34)},
		{"From x Sat Jan  3 01:05 pm 1996", dated, "x", utc(1996, 1, 3, 13, 5, 0)},
		{"From root Mon Aug  2 21:25:01 1993 remote from hosta", dated, "root", utc(1993, 8, 2, 21, 25, 1)},
		{"From a@b Sat Jan  3 01:05:34 1996 moreinfo", dated, "a@b", utc(1996, 1, 3, 1, 5, 34)},
		{"From Sat Jan  3 01:05:34 1996", dated, "Sat", utc(1996, 1, 3, 1, 5, 34)},
		{"From  Sun Jan  4 01:05:34 1996", dated, "", utc(1996, 1, 4, 1, 5, 34)},
		{"From ann at example.org  Thu Apr 24 16:08:04 2003", dated, "ann at example.org", utc(2003, 4, 24, 16, 8, 4)},
		{`From "bounce-News 5"@mp3.example Wed Nov 24 11:05:35 1999`, dated, `"bounce-News 5"@mp3.example`, utc(1999, 11, 24, 11, 5, 35)},
		{"From ???@??? Sat Jan  3 01:05:34 1996", dated, "???@???", utc(1996, 1, 3, 1, 5, 34)},
		{"From A B <a@b> Sat Jan  3 01:05:34 1996", dated, "A B <a@b>", utc(1996, 1, 3, 1, 5, 34)},
		{"From a@b Sat Feb 30 01:05:34 1996", dated, "a@b", time.Time{}},
		{"From a@b Thu Feb 29 01:05:34 1996", dated, "a@b", utc(1996, 2, 29, 1, 5, 34)},
		{"From a@b Thu Feb 29 01:05:34 1900", dated, "a@b", time.Time{}},
		{"From a@b Sat Jan  3 25:05:34 1996", dated, "a@b", time.Time{}},
		{"From a@b Sat Jan  3 01:05:34", dated, "a@b", time.Time{}},
		{"From fc88cba7f1f37b9cf3b296eace2422dd0e173502 Mon Sep 17 00:00:00 2001", git, "fc88cba7f1f37b9cf3b296eace2422dd0e173502", time.Time{}},
		{"From fc88cba7f1f37b9cf3b296eace2422dd0e17350 Mon Sep 17 00:00:00 2001", dated, "fc88cba7f1f37b9cf3b296eace2422dd0e17350", utc(2001, 9, 17, 0, 0, 0)},
		{"From ", bare, "", time.Time{}},
		{"From  \t", bare, "", time.Time{}},
		{"From -", dash, "-", time.Time{}},
		{"From - \r\n", dash, "-", time.Time{}},
		{"From 1844@xxx", word, "1844@xxx", time.Time{}},
		{"From this principle, all of life", prose, "this", time.Time{}},
		{"From Paris to Rome at 10:30 in 2004", prose, "Paris", time.Time{}},
		{"From a@b Sat Jan  3 01:05:34 1996,", prose, "a@b", time.Time{}},
		{"From a@b Sat Jan  3 01:05:3 1996", prose, "a@b", time.Time{}},
	} {
		from, err := ParseFrom([]byte(c.line))
		if err != nil {
			t.Errorf("%q: %v", c.line, err)
			continue
		}
		var date stamp
		if got := shapeOf(from.Raw, &date); got != c.shape {
			t.Errorf("%q has shape %d, want %d", c.line, got, c.shape)
		}
		if from.Sender != c.sender || from.HasDate == c.date.IsZero() || !from.Date.Equal(c.date) {
			t.Errorf("%q: sender %q, date %v %v, want %q %v", c.line, from.Sender, from.Date, from.HasDate, c.sender, c.date)
		}
	}
	if _, err := ParseFrom([]byte("From: x")); !errors.Is(err, ErrFromLine) {
		t.Errorf("header line: %v", err)
	}
}

func TestFromLineString(t *testing.T) {
	date := time.Date(2004, 1, 5, 8, 1, 2, 0, time.FixedZone("", 3600))
	for _, c := range []struct {
		from FromLine
		want string
	}{
		{FromLine{Sender: "a@b", Date: date, HasDate: true}, "From a@b Mon Jan  5 07:01:02 2004"},
		{FromLine{}, "From MAILER-DAEMON Thu Jan  1 00:00:00 1970"},
		{FromLine{Sender: "a b\n\x00@c"}, "From a-b--@c Thu Jan  1 00:00:00 1970"},
		{FromLine{Raw: []byte("From x"), Sender: "y"}, "From x"},
	} {
		if got := c.from.String(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.from, got, c.want)
		}
	}
}

// FuzzParseFrom: a line that is written is read as it was meant.
func FuzzParseFrom(f *testing.F) {
	f.Add([]byte("From ann@example.org Mon Jan  5 07:01:02 2004"))
	f.Add([]byte("From d Sun, 11 Nov 2007 06:58:35 +0200 (CET) x"))
	f.Add([]byte("From 2007-11-11T06:58:35.5+0200"))
	f.Fuzz(func(t *testing.T, line []byte) {
		from, err := ParseFrom(line)
		if err != nil {
			return
		}
		if !from.HasDate {
			return
		}
		y := from.Date.Year()
		if y < 0 || y > 9999 {
			return // a zone may lead out of what four digits can say
		}
		again := FromLine{Sender: from.Sender, Date: from.Date, HasDate: true}
		back, err := ParseFrom([]byte(again.String()))
		if err != nil || !back.HasDate || y >= 1000 && !back.Date.Equal(from.Date) {
			t.Fatalf("%q became %q: %v %v", line, again.String(), back.Date, err)
		}
	})
}
