package users

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// people is the assign of n accounts, two lines each.
func people(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "=user%d:user%d:%d:1000:/home/user%d:::\n", i, i, 10000+i, i)
		fmt.Fprintf(&b, "+user%d-:user%d:%d:1000:/home/user%d:-::\n", i, i, 10000+i, i)
	}
	b.WriteString(".\n")
	return b.Bytes()
}

// BenchmarkNewU does the whole job, durably, for a million lines.
func BenchmarkNewU(b *testing.B) {
	dir := b.TempDir()
	text := people(500_000)
	if err := os.WriteFile(filepath.Join(dir, "assign"), text, 0o644); err != nil {
		b.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if err := NewU(root, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAssign(b *testing.B) {
	text := people(50_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseAssign(bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	const n = 50_000
	cdb := database(b, string(people(n)))
	name := filepath.Join(b.TempDir(), "cdb")
	if err := os.WriteFile(name, cdb, 0o644); err != nil {
		b.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	onDisk, err := OpenDB(file, int64(len(cdb)))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name, local string
		db          *DB
	}{
		{"memory/exact", "user%d", openDB(b, cdb)},
		{"memory/wildcard", "user%d-Ext", openDB(b, cdb)},
		{"file/exact", "user%d", onDisk},
		{"file/wildcard", "user%d-Ext", onDisk},
	} {
		b.Run(c.name, func(b *testing.B) {
			locals := make([]string, 1000)
			for i := range locals {
				locals[i] = fmt.Sprintf(c.local, i*(n/len(locals)))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, found, err := c.db.Lookup(locals[i%len(locals)]); !found || err != nil {
					b.Fatal(found, err)
				}
				i++
			}
		})
	}
}
