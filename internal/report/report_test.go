package report

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prenas/internal/fsys"
)

var update = flag.Bool("update", false, "write the golden files anew")

const golden = "testdata/report.html"

// copyRun is a run directory of the test's own, with the files of testdata/run.
func copyRun(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/run")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeReport(t *testing.T) string {
	t.Helper()
	path, err := Write(fsys.OS, copyRun(t), quiet)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGolden(t *testing.T) {
	got := writeReport(t)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("report differs from %s (-want +got); -update writes it anew:\n%s", golden, diff)
	}
}

func TestNoExternalReference(t *testing.T) {
	page := writeReport(t)
	checkNoReference(t, page)

	// Pictures are inside the page.
	dir := copyRun(t)
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 60, 20))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "augmented.png"), picture.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	path, err := Write(fsys.OS, dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inside := `<img src="data:image/png;base64,` + base64.StdEncoding.EncodeToString(picture.Bytes()) + `"`
	if !strings.Contains(string(text), inside) {
		t.Error("the picture of augmentation is not in the page")
	}
	checkNoReference(t, strings.ReplaceAll(string(text), inside, ""))
}

func checkNoReference(t *testing.T, page string) {
	t.Helper()
	for _, pattern := range []string{`(?i)https?:`, `(?i)\b(src|href|srcset|action)\s*=`, `(?i)url\s*\(`, `(?i)@import`, `(?i)<(script|link|iframe|object|embed|img)\b`, `(?i)="//`} {
		if found := regexp.MustCompile(pattern).FindString(page); found != "" {
			t.Errorf("the page refers to something outside: %q (%s)", found, pattern)
		}
	}
	// html/template writes this where it refuses a value.
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("the template refused a value")
	}
}

func TestTextOfTheRunIsEscaped(t *testing.T) {
	dir := copyRun(t)
	manifest := `{"command": "<script>alert(1)</script>"}`
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	path, err := Write(fsys.OS, dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(page), "<script") {
		t.Error("text of the manifest became markup")
	}
}

// A line that cannot be read is left out, and the page says so; speeds stop nothing.
func TestDamagedMetricsAreLeftOut(t *testing.T) {
	dir := copyRun(t)
	if err := os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte("{\"kind\":\"eval\"}\nnonsense\n{\"kind\":\"tr"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "timing.jsonl"), 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := Write(fsys.OS, dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a line is damaged and left out: line 2", "timing.jsonl is not a regular file"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestIncompleteRun(t *testing.T) {
	for _, test := range []struct {
		name, file string
		text       *string // nil: the file is removed
		want       []string
	}{
		{"no manifest", "manifest.json", nil, []string{"is missing", "prenas train"}},
		{"no candidates", "candidates.json", nil, []string{"is missing", "prenas train"}},
		{"no metrics", "metrics.jsonl", nil, []string{"is missing", "prenas train"}},
		{"no results", "results.json", nil, []string{"is missing", "prenas eval"}},
		{"manifest is a list", "manifest.json", ptr("[1]"), []string{"prenas train"}},
		{"results cut short", "results.json", ptr(`{"space": "x`), []string{"prenas eval"}},
		{"results of nothing", "results.json", ptr(`{}`), []string{"no architectures"}},
		{"results of another run", "results.json", ptr(`{"images":1,"architectures":[{"arch":"e64-h1x4-r2x4","params":1,"macs":1}]}`), []string{"e64-h1x4-r2x4", "candidates"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := copyRun(t)
			path := filepath.Join(dir, test.file)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if test.text != nil {
				if err := os.WriteFile(path, []byte(*test.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Write(fsys.OS, dir, quiet)
			if !errors.Is(err, ErrIncomplete) {
				t.Fatalf("error %v, want one that wraps ErrIncomplete", err)
			}
			for _, want := range append(test.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q has more than one line", err)
			}
			if _, err := os.Stat(filepath.Join(dir, File)); err == nil {
				t.Error("a report was written all the same")
			}
		})
	}
}

func ptr(text string) *string { return &text }

// No file of a run, whatever it holds, makes the report panic. Some of them are read all the same.
func TestNoFileOfARunMakesAPanic(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	tries, written, refused := 200, 0, 0
	if testing.Short() {
		tries = 50
	}
	for _, name := range []string{"manifest.json", "candidates.json", "metrics.jsonl", "results.json"} {
		dir := copyRun(t)
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range tries {
			text := bytes.Clone(whole)
			for range 1 + r.IntN(4) {
				at := r.IntN(len(text))
				text[at] = "0123456789-.eE{}[],\":nul"[r.IntN(24)]
			}
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Write(fsys.OS, dir, quiet); err == nil {
				written++
			} else {
				refused++
			}
		}
	}
	if written < tries/4 || refused < tries/4 {
		t.Errorf("of damaged runs %d have a report and %d are refused", written, refused)
	}
}

func quiet(string) {}
