package board

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"prenas/internal/exhibit"
	"prenas/internal/job"
	"prenas/internal/printable"
)

// page is what a page shows now.
type page struct {
	Title    string
	Lead     string
	Sections []exhibit.Section
}

// errNotFound: there is no such page.
var errNotFound = errors.New("there is nothing of this name below the folder")

// view makes a page. Its version is the same as long as the page is; known is that of the page as
// the reader has it, which need not be made again.
type view func(query url.Values, known string) (p page, version string, err error)

// views by path.
func (b *Board) views() map[string]view {
	return map[string]view{"/": b.list, "/run": b.run, "/compare": b.compare, "/search": b.search, "/audit": b.audit}
}

// perPage is how many runs a page of the list has.
const perPage = 50

// listed is a line of the list.
type listed struct {
	ID, Link, Written string
	exhibit.State
	Share string // done, in per cent
}

// listing is what the list shows.
type listing struct {
	Search        string
	Runs          []listed
	From, To, All int
	Before, After string // links
	Others        []listed
	OthersLeft    int
	Notes         []string
}

// list is the page of all.
func (b *Board) list(query url.Values, known string) (page, string, error) {
	wanted := query.Get("q")
	number, _ := strconv.Atoi(query.Get("page")) // none is the first
	items, notes := b.index.get(2 * time.Second)
	l := listing{Search: wanted, Notes: notes}
	var runs []item
	for _, i := range items {
		switch {
		case wanted != "" && !strings.Contains(strings.ToLower(i.ID), strings.ToLower(wanted)):
		case i.Kind == kindRun:
			runs = append(runs, i)
		case len(l.Others) < 4*perPage:
			l.Others = append(l.Others, listed{ID: i.ID, Link: link(i.Kind, i.ID), Written: when(i.Last)})
		default:
			l.OthersLeft++
		}
	}
	l.All = len(runs)
	number = max(0, min(number, (len(runs)-1)/perPage))
	from, to := number*perPage, min((number+1)*perPage, len(runs))
	l.From, l.To = min(from+1, len(runs)), to
	if number > 0 {
		l.Before = "/?" + url.Values{"q": {wanted}, "page": {strconv.Itoa(number - 1)}}.Encode()
	}
	if to < len(runs) {
		l.After = "/?" + url.Values{"q": {wanted}, "page": {strconv.Itoa(number + 1)}}.Encode()
	}
	for _, i := range runs[from:to] {
		line := listed{ID: i.ID, Link: link(i.Kind, i.ID), Written: when(i.Last)}
		b.cache.of(i.ID).use(func(r *exhibit.Run, _ int64) { line.State = r.State() })
		if line.Steps > 0 {
			line.Share = fmt.Sprintf("%.0f %%", 100*min(1, float64(line.Step)/float64(line.Steps)))
		}
		l.Runs = append(l.Runs, line)
	}
	html, err := render("list", l)
	version := digest(html)
	return page{Title: "Runs below " + filepath.Base(b.dir), Lead: b.dir, Sections: []exhibit.Section{{ID: "list", Title: "Runs", HTML: html}}}, version, err
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func link(kind, id string) string { return "/" + kind + "?" + url.Values{"id": {id}}.Encode() }

// shown is the name of an item on its page.
func (b *Board) shown(id string) string {
	if id == "." {
		return filepath.Base(b.dir)
	}
	return id
}

// run is the page of a run.
func (b *Board) run(query url.Values, known string) (p page, version string, err error) {
	id := query.Get("id")
	if !b.index.has(kindRun, id) {
		return p, "", errNotFound
	}
	p.Title = b.shown(id)
	b.cache.of(id).use(func(r *exhibit.Run, changed int64) {
		if version = strconv.FormatInt(changed, 10); version != known {
			p.Sections, err = r.Sections()
		}
	})
	return p, version, err
}

// compare is the page of several runs.
func (b *Board) compare(query url.Values, known string) (p page, version string, err error) {
	ids := slices.Compact(slices.Sorted(slices.Values(query["id"])))
	if most := exhibit.MostCompared; len(ids) > most {
		p.Lead = fmt.Sprintf("The first %d of %s; more cannot be told apart.", most, printable.Count(len(ids), "run"))
		ids = ids[:most]
	}
	if len(ids) < 2 {
		return page{Title: "Compare runs", Lead: "Choose two or more runs in the list."}, "none", nil
	}
	for _, id := range ids {
		if !b.index.has(kindRun, id) {
			return p, "", errNotFound
		}
	}
	p.Title = printable.Count(len(ids), "run")
	b.cache.useAll(ids, func(runs []*exhibit.Run, changed []int64) {
		var named []exhibit.Named
		for i, r := range runs {
			named = append(named, exhibit.Named{Name: b.shown(ids[i]), Run: r})
		}
		if version = fmt.Sprint(changed); version != known {
			p.Sections, err = exhibit.CompareSections(named)
		}
	})
	return p, version, err
}

// fileVersion is that of files: sizes and times.
func (b *Board) fileVersion(names ...string) string {
	var v strings.Builder
	for _, name := range names {
		if info, err := b.root.Stat(name); err == nil {
			fmt.Fprint(&v, info.Size(), info.ModTime().UnixNano(), " ")
		} else {
			v.WriteString("- ")
		}
	}
	return v.String()
}

// search is the page of a search.
func (b *Board) search(query url.Values, known string) (p page, version string, err error) {
	id := query.Get("id")
	if !b.index.has(kindSearch, id) || !regular(b.root, id) {
		return p, "", errNotFound
	}
	meta := strings.TrimSuffix(id, path.Ext(id)) + ".meta.json"
	if !regular(b.root, meta) {
		return p, "", errNotFound
	}
	p.Title = id
	if version = b.fileVersion(id, meta); version != known {
		p.Sections, err = job.SearchSections(filepath.Join(b.dir, filepath.FromSlash(id)))
	}
	return p, version, err
}

// audit is the page of a benchmark file.
func (b *Board) audit(query url.Values, known string) (p page, version string, err error) {
	id := query.Get("id")
	if !b.index.has(kindAudit, id) {
		return p, "", errNotFound
	}
	p.Title = id
	if version = b.fileVersion(id); version != known {
		p.Sections, err = exhibit.AuditSections(b.files, id)
	}
	return p, version, err
}

// get answers with a page.
func (b *Board) get(v view) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		p, version, err := v(r.URL.Query(), "")
		if err != nil {
			return err
		}
		// The browser asks for what comes after this version.
		events := url.Values{"of": {r.URL.RequestURI()}, "version": {version}}
		var text bytes.Buffer
		err = templates.ExecuteTemplate(&text, "page", struct {
			page
			Events string
			Home   bool
		}{p, "/events?" + events.Encode(), r.URL.Path == "/"})
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(text.Bytes()) // the reader may be gone
		return nil
	}
}

func render(name string, data any) (template.HTML, error) {
	var text bytes.Buffer
	err := templates.ExecuteTemplate(&text, name, data)
	return template.HTML(text.String()), err
}
