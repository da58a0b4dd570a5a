package board

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"prenas/internal/input"
)

// imageFolder is a folder outside of the shown one whose image files are shown.
type imageFolder struct {
	dir  string // its path from the root
	root *os.Root
}

func openImages(dirs []string) (list []imageFolder, err error) {
	for _, dir := range dirs {
		f := imageFolder{}
		if f.dir, err = filepath.Abs(dir); err == nil {
			f.root, err = os.OpenRoot(f.dir)
		}
		if err != nil {
			return list, fmt.Errorf("%w %s: %w: %w", input.Images, dir, ErrFolder, err)
		}
		list = append(list, f)
	}
	return list, nil
}

// holding is the folder that an image's path from the root lies below, and its path from there.
func (b *Board) holding(name string) (f imageFolder, local string, ok bool) {
	if !filepath.IsAbs(name) {
		return f, "", false
	}
	for _, f := range b.images {
		if local, err := filepath.Rel(f.dir, name); err == nil && filepath.IsLocal(local) {
			return f, local, true
		}
	}
	return f, "", false
}

// imageLink leads to the file of an image, where it is shown.
func (b *Board) imageLink(name string) template.URL {
	if _, _, ok := b.holding(name); !ok {
		return ""
	}
	return template.URL("/image?" + url.Values{"name": {name}}.Encode())
}

// shownKinds are the kinds of files that are shown; a browser does not look for others in them.
var shownKinds = []string{"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"}

// image answers with the file of an image.
func (b *Board) image(w http.ResponseWriter, r *http.Request) error {
	f, local, ok := b.holding(r.URL.Query().Get("name"))
	if !ok {
		return errNotFound
	}
	file, err := openRegular(f.root, local)
	if err != nil {
		return errNotFound
	}
	defer file.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return errNotFound
	}
	kind := http.DetectContentType(head[:n])
	if !slices.Contains(shownKinds, kind) {
		return errNotFound
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'") // of the page that browsers make around an image
	http.ServeContent(w, r, "", time.Time{}, file)
	return nil
}
