package board

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"prenas/internal/chart"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/web"
)

// ErrFolder: what is to be shown is no folder that can be read.
var ErrFolder = errors.New("no folder that can be read")

// Options of a Board. Zero values mean the defaults that are named.
type Options struct {
	Every time.Duration // how often an open page looks for what is new; 1 s
	Hosts []string      // names by which the server may be asked, beside addresses and localhost
	// Images are folders outside of the shown one whose image files are shown, where results name
	// them; none: no such file is.
	Images []string
	Log    *slog.Logger
}

// Board shows what is below a folder.
type Board struct {
	o       Options
	dir     string // its path from the root
	root    *os.Root
	files   fsys.FS
	index   *index
	cache   *cache
	images  []imageFolder
	readers *semaphore.Weighted // of events
	stop    chan struct{}       // closed when no more events are sent
}

// maxReaders is how many pages are kept up to date at once.
const maxReaders = 100

//go:embed page.html board.js
var assets embed.FS

var templates = template.Must(template.ParseFS(assets, "page.html"))

// Open opens a folder. Errors wrap ErrFolder.
func Open(dir string, o Options) (*Board, error) {
	if o.Every <= 0 {
		o.Every = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	absolute, err := filepath.Abs(dir)
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(absolute)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", dir, ErrFolder, err)
	}
	files := inside{root: root}
	b := &Board{o: o, dir: absolute, root: root, files: files, index: &index{root: root}, readers: semaphore.NewWeighted(maxReaders), stop: make(chan struct{})}
	b.cache = newCache(files, b.imageLink)
	if b.images, err = openImages(o.Images); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Close closes the folders.
func (b *Board) Close() error {
	err := b.root.Close()
	for _, f := range b.images {
		err = errors.Join(err, f.root.Close())
	}
	return err
}

// Run answers requests on a listener until ctx is cancelled.
func (b *Board) Run(ctx context.Context, listener net.Listener) error {
	server := web.NewServer(b.Handler(), b.o.Log)
	server.ReadTimeout = 30 * time.Second
	stopping := func() { close(b.stop) } // pages that are kept up to date would never end
	err := web.Run(ctx, server, func() error { return server.Serve(listener) }, 5*time.Second, stopping)
	if errors.Is(err, web.ErrCut) {
		return nil // who looks loses nothing
	}
	return err
}

// Handler is all routes.
func (b *Board) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, v := range b.views() {
		pattern := "GET " + path
		if path == "/" {
			pattern += "{$}"
		}
		mux.Handle(pattern, b.wrap(b.get(v)))
	}
	mux.Handle("GET /events", b.wrap(b.events))
	mux.Handle("GET /image", b.wrap(b.image))
	mux.Handle("GET /board.css", b.wrap(text("text/css; charset=utf-8", chart.CSS)))
	script, err := assets.ReadFile("board.js")
	if err != nil {
		panic(err) // it is in the program
	}
	mux.Handle("GET /board.js", b.wrap(text("text/javascript; charset=utf-8", string(script))))
	mux.Handle("/", b.wrap(func(http.ResponseWriter, *http.Request) error { return errNotFound }))
	return mux
}

func text(kind, content string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write([]byte(content)) // the reader may be gone
		return nil
	}
}

// wrap is what all routes have in common: who may ask, what a page may do, errors as a page, and
// that a fault ends only the page it is in.
func (b *Board) wrap(f web.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !b.allowed(r.Host) {
			b.o.Log.Warn("refused: the request names another server", "host", r.Host)
			http.Error(w, fmt.Sprintf("This server answers to its address or to localhost only; another name is allowed with %v.", input.Host), http.StatusMisdirectedRequest)
			return
		}
		err := f.Guarded(b.o.Log)(w, r)
		if err == nil {
			return
		}
		status := http.StatusInternalServerError
		switch {
		case errors.Is(err, errNotFound):
			status = http.StatusNotFound
		case errors.Is(err, errBusy):
			status = http.StatusServiceUnavailable
		default:
			b.o.Log.Error("a page cannot be shown", "page", r.URL.RequestURI(), "error", err.Error())
		}
		html, renderErr := render("error", err.Error())
		if renderErr != nil {
			html = "<p>This page cannot be shown.</p>"
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(html)) // the reader may be gone
	})
}

// allowed tells whether a request names this server as it may be named. A name that another site
// has pointed to this machine is not among them; an address cannot be pointed elsewhere.
func (b *Board) allowed(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	return net.ParseIP(name) != nil || strings.EqualFold(name, "localhost") ||
		slices.ContainsFunc(b.o.Hosts, func(allowed string) bool { return strings.EqualFold(allowed, name) })
}

// errBusy: as many pages as can be kept up to date are open.
var errBusy = fmt.Errorf("%d pages are open, as many as are kept up to date at once", maxReaders)

// change is an event: what a page shows now.
type change struct {
	Title    string    `json:"title"`
	Sections []changed `json:"sections"`
}

type changed struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	HTML  string `json:"html,omitempty"` // left out: as it was
}

// events sends what is new on a page, as server-sent events, until the reader leaves.
func (b *Board) events(w http.ResponseWriter, r *http.Request) error {
	of, err := url.ParseRequestURI(r.URL.Query().Get("of"))
	if err != nil {
		return errNotFound
	}
	v := b.views()[of.Path]
	if v == nil {
		return errNotFound
	}
	known, sent := r.URL.Query().Get("version"), map[string]string{}
	if r.Header.Get("Last-Event-ID") != "" {
		known = "" // the connection broke: what was sent since is not known
	}
	query, quiet := of.Query(), time.Now()
	if _, _, err := v(query, known); errors.Is(err, errNotFound) {
		return err
	}
	if !b.readers.TryAcquire(1) {
		return errBusy
	}
	defer b.readers.Release(1)
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	if _, err := fmt.Fprintf(w, "retry: 3000\n\n"); err != nil {
		return nil
	}
	for turn := time.NewTicker(b.o.Every); ; {
		if err := out.Flush(); err != nil {
			return nil // the reader is gone
		}
		select {
		case <-turn.C:
		case <-r.Context().Done():
			turn.Stop()
			return nil
		case <-b.stop:
			turn.Stop()
			return nil
		}
		p, version, err := v(query, known)
		if err != nil {
			continue // it may come back; the page stays as it is
		}
		if version == known {
			if time.Since(quiet) > 15*time.Second { // so that a reader who is gone is found out
				quiet = time.Now()
				if _, err := fmt.Fprint(w, ":\n\n"); err != nil {
					return nil
				}
			}
			continue
		}
		known, quiet = version, time.Now()
		event := change{Title: p.Title}
		for _, s := range p.Sections {
			c := changed{ID: s.ID, Title: s.Title}
			if d := digest(s.HTML); sent[s.ID] != d {
				c.HTML, sent[s.ID] = string(s.HTML), d
			}
			event.Sections = append(event.Sections, c)
		}
		text, err := json.Marshal(event)
		if err != nil {
			return nil // nothing that a reader could do about it
		}
		if _, err := fmt.Fprintf(w, "id: 1\ndata: %s\n\n", text); err != nil {
			return nil
		}
	}
}
