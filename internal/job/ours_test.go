package job

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
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
// not. Files without one are read as they are, so these are.
func TestNoFileOfOursMakesAPanic(t *testing.T) {
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
	readRun := func(string) {
		m, err := rundir.ReadManifest(fsys.OS, dir)
		if err == nil {
			_, _ = m.Trained(fsys.OS, dir)
		}
		_, _ = evaluate.ReadResults(fsys.OS, filepath.Join(dir, ResultsFile))
		_, _ = rundir.ReadMetrics(fsys.OS, dir)
		_, _ = report.Write(fsys.OS, dir)
		if status, err := watch.Read(dir); err == nil {
			status.Picture(80)
		}
	}
	readSearch := func(path string) {
		_, _ = Explain(ExplainOptions{Candidates: filepath.Join(dir, "candidates.json")})
		o := TrainOptions{Candidates: filepath.Join(dir, "candidates.json"), Log: func(string) {}}
		_, _ = o.readCandidates()
		if o.Space != nil {
			_, _ = o.DefaultRecipe()
		}
	}
	for _, f := range []struct {
		name string
		text []byte // nil: what is there
		read func(path string)
	}{
		{"manifest.json", nil, readRun},
		{"results.json", nil, readRun},
		{"candidates.json", nil, func(path string) { readRun(path); readSearch(path) }},
		{"candidates.meta.json", meta, readSearch},
		{"candidates.parts.json", []byte(`{"az of x seed 1": {"` + winner + `": [1, 2, 3, 4]}, "zen of x seed 1": {"` + winner + `": [1]}}`), func(path string) {
			for _, name := range []string{"az", "zen"} {
				store, _ := openParts(path, name+" of x seed 1")
				if parts, known := store.parts[winner]; known && len(parts) > 0 {
					proxy.Scores(name, []proxy.Parts{parts, parts})
				}
			}
		}},
		{"candidates.sums.json", []byte(`{"d": {"gradients": false, "rare": false, "tensors": {"blocks.0.attn.qkv.weight": {"rows": [1], "cols": [1], "sums": [[[1]]]}}}}`), func(path string) {
			_, _ = readSums(path, s, "d")
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
			if tries++; tries%29 != 0 && len(text) > 1500 { // a sample of those of long files
				return
			}
			if err := os.WriteFile(path, mutated, 0o600); err != nil {
				t.Fatal(err)
			}
			f.read(path)
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
			if b, err := audit.Read(fsys.OS, path); err == nil {
				b.Arches()
			}
		})
	}
}
