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
)

// File is the report's name in a run directory.
const File = "report.html"

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what page.html shows.
type page struct {
	Space    string
	Style    template.CSS
	Doubts   []string
	Sections []exhibit.Section
}

// Write writes the report of a run directory into it, whole or not at all, and returns
// its path. What of the run's files does not belong together is on the page, and tell hears of it.
// Errors about the files wrap [ErrIncomplete].
func Write(fs fsys.FS, runDir string, tell func(string)) (string, error) {
	results, err := check(fs, runDir)
	if err != nil {
		return "", err
	}
	doubts := doubts(fs, runDir, results)
	for _, doubt := range doubts {
		tell(doubt)
	}
	run := exhibit.OpenRun(fs, runDir)
	run.Read()
	sections, err := run.Sections()
	// Rendered first: a template that fails must not leave half a page.
	var text bytes.Buffer
	if err == nil {
		err = pageTemplate.Execute(&text, page{results.Space, template.CSS(chart.CSS), doubts, sections})
	}
	if err != nil {
		return "", fmt.Errorf("report of %s: %w", runDir, err)
	}
	path := filepath.Join(runDir, File)
	err = fsys.WriteAtomic(fs, path, func(w io.Writer) error {
		_, err := w.Write(text.Bytes())
		return err
	})
	return path, err
}
