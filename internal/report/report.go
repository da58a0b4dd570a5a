package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"path/filepath"

	"prenas/internal/chart"
	"prenas/internal/exhibit"
	"prenas/internal/fsys"
	"prenas/internal/printable"
	"prenas/internal/rundir"
)

// File is the report's name in a run directory.
const File = "report.html"

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// Page is a page that is one file.
type Page struct {
	Title    string
	Doubts   []string // sentences about files that do not belong together
	Sections []exhibit.Section
}

// Write writes the report of a run directory into it, whole or not at all, and returns its path. Where
// files of the run do not belong together the page says so, and tell gets the same sentences. Errors
// about the files wrap [ErrIncomplete].
func Write(fs fsys.FS, runDir string, tell func(string)) (string, error) {
	p, err := OfRun(fs, runDir, tell)
	if err != nil {
		return "", err
	}
	path := filepath.Join(runDir, File)
	return path, p.Write(fs, path)
}

// OfRun makes the page that [Write] writes.
func OfRun(fs fsys.FS, runDir string, tell func(string)) (Page, error) {
	results, err := check(fs, runDir)
	if err != nil {
		return Page{}, err
	}
	p := Page{Title: results.Space, Doubts: doubts(fs, runDir, results)}
	for _, doubt := range p.Doubts {
		tell(doubt)
	}
	run := exhibit.OpenRun(fs, runDir)
	run.Read()
	if p.Sections, err = run.Sections(); err != nil {
		err = fmt.Errorf("report of %s: %w", runDir, err)
	}
	return p, err
}

// OfRuns makes a page with several runs beside each other, at most exhibit.MostCompared. They need not
// have ended or been measured. Errors about their files wrap [ErrIncomplete].
func OfRuns(fs fsys.FS, runDirs []string) (p Page, err error) {
	var runs []exhibit.Named
	for _, dir := range runDirs {
		if _, err := rundir.ReadManifest(fs, dir); err != nil {
			return p, fmt.Errorf("%w: %w", ErrIncomplete, err)
		}
		run := exhibit.OpenRun(fs, dir)
		run.Read()
		runs = append(runs, exhibit.Named{Name: filepath.ToSlash(filepath.Clean(dir)), Run: run})
	}
	p.Title = printable.Count(len(runs), "run")
	p.Sections, err = exhibit.CompareSections(runs)
	return p, err
}

// OfAudit makes a page of a benchmark file of prenas audit.
func OfAudit(fs fsys.FS, path string) (p Page, err error) {
	p.Title = filepath.Base(path)
	p.Sections, err = exhibit.AuditSections(fs, path)
	return p, err
}

// Write writes the page, whole or not at all.
func (p Page) Write(fs fsys.FS, path string) error {
	// Rendered first: a template that fails must not leave half a page.
	var text bytes.Buffer
	if err := pageTemplate.Execute(&text, struct {
		Page
		Style template.CSS
	}{p, template.CSS(chart.CSS)}); err != nil {
		return fmt.Errorf("report %s: %w", path, err)
	}
	return fsys.WriteAtomic(fs, path, func(w io.Writer) error {
		_, err := w.Write(text.Bytes())
		return err
	})
}
