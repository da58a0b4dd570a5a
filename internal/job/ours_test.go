package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/audit"
	"prenas/internal/evaluate"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/proxy"
	"prenas/internal/report"
	"prenas/internal/rundir"
	"prenas/internal/watch"
	"prenas/pkg/space"
)

// No file of ours, whatever it holds, makes what reads it panic, whether it has a digest or
// not; and none gives a key twice. Files without a digest are read as they are, so these are.
func TestNoFileOfOursMakesAPanic(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	run := filepath.Join("..", "report", "testdata", "run")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(run)); err != nil {
		t.Fatal(err)
	}
	s, err := space.Load("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	candidates, err := space.ReadCandidates(filepath.Join(dir, "candidates.json"))
	if err != nil {
		t.Fatal(err)
	}
	winner := candidates[0].Candidates[0].Arch.String()
	meta, err := json.Marshal(Meta{Space: s, Search: map[string]string{"proxy": "params"}, RunnersUp: map[string]string{candidates[0].Key: winner}, Ranking: &Ranking{Proxy: "zen", Intervals: map[string][]Ranked{candidates[0].Key: {{winner, 1, 2}}}}})
	if err != nil {
		t.Fatal(err)
	}
	readRun := func(string) error {
		m, err := rundir.ReadManifest(fsys.OS, dir)
		if err == nil {
			_, err = m.Trained(fsys.OS, dir)
		}
		_, ofResults := evaluate.ReadResults(fsys.OS, filepath.Join(dir, ResultsFile))
		_, ofMetrics := rundir.ReadMetrics(fsys.OS, dir)
		_, _ = report.Write(fsys.OS, dir, func(string) {})
		if status, err := watch.Read(dir); err == nil {
			status.Picture(80)
		}
		return errors.Join(err, ofResults, ofMetrics)
	}
	readSearch := func(path string) error {
		_, err := Explain(ExplainOptions{Candidates: filepath.Join(dir, "candidates.json")})
		o := TrainOptions{Candidates: filepath.Join(dir, "candidates.json"), Log: func(string) {}}
		_, ofTrain := o.readCandidates()
		if o.Space != nil {
			_, _ = o.DefaultRecipe()
		}
		return errors.Join(err, ofTrain)
	}
	for _, f := range []struct {
		name string
		text []byte // nil: what is there
		read func(path string) error
	}{
		{"manifest.json", nil, readRun},
		{"results.json", nil, readRun},
		{"candidates.json", nil, func(path string) error { return errors.Join(readRun(path), readSearch(path)) }},
		{"candidates.meta.json", meta, readSearch},
		{"candidates.parts.json", []byte(`{"az of x seed 1": {"` + winner + `": [1, 2, 3, 4]}, "zen of x seed 1": {"` + winner + `": [1]}}`), func(path string) (err error) {
			for _, name := range []string{"az", "zen"} {
				var store *partsStore
				store, err = openParts(path, name+" of x seed 1")
				if parts, known := store.parts[winner]; known && len(parts) > 0 {
					proxy.Scores(name, []proxy.Parts{parts, parts})
				}
			}
			return err
		}},
		{"candidates.sums.json", []byte(`{"d": {"gradients": false, "rare": false, "tensors": {"blocks.0.attn.qkv.weight": {"rows": [1], "cols": [1], "sums": [[[1]]]}}}}`), func(path string) error {
			_, err := readSums(path, s, "d")
			return err
		}},
	} {
		path := filepath.Join(dir, f.name)
		text := f.text
		if text == nil {
			if text, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		tries := 0
		fixture.Mutated(t, text, func(what string, mutated []byte) {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("%s, %s: %v", f.name, what, p)
				}
			}()
			twice := strings.HasSuffix(what, fixture.Twice)
			if tries++; !twice && tries%29 != 0 && len(text) > 1500 { // a sample of those of long files
				return
			}
			if err := os.WriteFile(path, mutated, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := f.read(path); twice && err == nil {
				t.Errorf("%s, %s: it is read", f.name, what)
			}
		})
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Log(f.name, tries)
	}

	file, err := os.Open(filepath.Join("..", "..", "examples", "audit", "fashion-mnist.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitN(all, []byte("\n"), 4)
	for k := range 2 {
		fixture.Mutated(t, lines[k], func(what string, mutated []byte) {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("benchmark, line %d, %s: %v", k+1, what, p)
				}
			}()
			text := bytes.Join([][]byte{lines[0], lines[1], lines[2], nil}, []byte("\n"))
			text = bytes.Replace(text, lines[k], mutated, 1)
			path := filepath.Join(dir, "benchmark.jsonl")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			b, err := audit.Read(fsys.OS, path)
			if err == nil {
				b.Arches()
			}
			if twice := strings.HasSuffix(what, fixture.Twice); twice && err == nil {
				t.Errorf("benchmark, line %d, %s: it is read", k+1, what)
			}
		})
	}
}
