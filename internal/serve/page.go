package serve

import (
	"embed"
	"net/http"
)

//go:embed page.html page.js page.css
var pages embed.FS

// page answers with a file of the page where one drops an image in.
func page(name, kind string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		text, err := pages.ReadFile(name)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(text) // the reader may be gone
		return nil
	}
}
