//go:build unix

package queue

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/qmailkit/qmailkit"
)

// defectCodes is what Check calls each kind of defects.json. A kind with
// several codes is one of them.
var defectCodes = map[string][]string{
	"info":        {codeBadInfo},
	"record":      {codeBadRecord, codeCutRecord},
	"type":        {codeType},
	"missing":     {codeMissingFile},
	"size":        {codeTcpto},
	"no-info":     {codeNoInfo},
	"no-mess":     {codeNoMess},
	"mess-only":   nil, // looks like a message that is arriving
	"owner":       {codeOwner},
	"mode":        {codeMode},
	"missing-dir": {codeMissingDir},
	"name":        {codeName},
	"duplicate":   {codeDuplicate},
	"orphan":      {codeOrphan},
	"inode":       {codeInode},
	"stray":       {codeStray, codeExtraDir, codeType, codeWrongSplit},
	"wrong-split": {codeWrongSplit},
}

type defect struct {
	Kind string `json:"kind"`
	ID   ID     `json:"id"`
	Path string `json:"path"`
}

func (g *golden) defects(t testing.TB) []defect {
	t.Helper()
	var all []defect
	if g.damaged() {
		if err := json.Unmarshal(g.files["defects.json"], &all); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func allFaults(t testing.TB, q *Queue) []fault {
	t.Helper()
	var all []fault
	for f, err := range q.faults(context.Background()) {
		if err != nil {
			t.Errorf("check: %v", err)
			continue
		}
		all = append(all, f)
	}
	return all
}

// goldenCheck holds that every defect is found, and that nothing else is
// called damage.
func goldenCheck(t *testing.T, g *golden, q *Queue) {
	faults := allFaults(t, q)
	explained := make([]bool, len(faults))
	for _, d := range g.defects(t) {
		codes, known := defectCodes[d.Kind]
		if !known {
			t.Fatalf("unknown kind %q", d.Kind)
		}
		if d.Kind == "owner" && os.Geteuid() != 0 {
			continue // only root can unpack owners
		}
		found := codes == nil
		for i, f := range faults {
			same := d.Path != "" && f.path == d.Path || d.Path == "" && f.id == d.ID
			if same && (slices.Contains(codes, f.code) || f.severity == qmailkit.Info) {
				found, explained[i] = true, true
			}
		}
		if !found {
			t.Errorf("%+v is not found", d)
		}
	}
	for i, f := range faults {
		if !explained[i] && f.severity > qmailkit.Info && !byTheWay(g.defects(t), f) {
			t.Errorf("not in defects.json: %v", f.problem())
		}
	}
}

// byTheWay says that a fault of owner, group, mode or number is in a file that
// defects.json names for something else: what was put there by hand is root's.
func byTheWay(all []defect, f fault) bool {
	return slices.Contains([]string{codeOwner, codeGroup, codeMode, codeInode}, f.code) &&
		slices.ContainsFunc(all, func(d defect) bool { return d.Path == f.path })
}
