package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"path/filepath"

	"prenas/internal/fsys"
)

// File is the report's name in a run directory.
const File = "report.html"

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// Write writes the report of a run directory into it, whole or not at all, and returns
// its path. What of the run's files does not belong together is on the page, and tell hears of it.
// Errors about the files wrap [ErrIncomplete].
func Write(fs fsys.FS, runDir string, tell func(string)) (string, error) {
	r, err := read(fs, runDir)
	if err != nil {
		return "", err
	}
	for _, doubt := range r.doubts {
		tell(doubt)
	}
	// Rendered first: a template that fails must not leave half a page.
	var text bytes.Buffer
	if err := pageTemplate.Execute(&text, newPage(r)); err != nil {
		return "", fmt.Errorf("report of %s: %w", runDir, err)
	}
	path := filepath.Join(runDir, File)
	err = fsys.WriteAtomic(fs, path, func(w io.Writer) error {
		_, err := w.Write(text.Bytes())
		return err
	})
	return path, err
}
