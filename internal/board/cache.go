package board

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"prenas/internal/exhibit"
	"prenas/internal/fsys"
	"prenas/internal/input"
)

// kept is how many runs are kept in memory as they were read last.
const kept = 4 * perPage

// cache of runs that were looked at last.
type cache struct {
	files fsys.FS
	link  func(name string) template.URL // to the file of an image

	mu    sync.Mutex
	runs  map[string]*cached
	order []string // who was asked for last comes last
}

// cached is a run that was read.
type cached struct {
	mu      sync.Mutex
	run     *exhibit.Run
	changed int64 // when something had changed last, in nanoseconds: no two states have the same
}

func newCache(f fsys.FS, link func(name string) template.URL) *cache {
	return &cache{files: f, link: link, runs: map[string]*cached{}}
}

// of is the run of an item.
func (c *cache) of(id string) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := slices.Index(c.order, id); at >= 0 {
		c.order = slices.Delete(c.order, at, at+1)
	} else if len(c.order) == kept {
		delete(c.runs, c.order[0])
		c.order = slices.Delete(c.order, 0, 1)
	}
	c.order = append(c.order, id)
	if c.runs[id] == nil {
		run := exhibit.OpenRun(c.files, filepath.FromSlash(id))
		run.Link, run.Hint = c.link, fmt.Sprintf("prenas board %v FOLDER makes links of names below FOLDER.", input.Images)
		c.runs[id] = &cached{run: run}
	}
	return c.runs[id]
}

// use reads what came since and gives the run to f.
func (c *cached) use(f func(r *exhibit.Run, changed int64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run.Read() {
		c.changed = time.Now().UnixNano()
	}
	f(c.run, c.changed)
}

// useAll is use of several; ids are sorted, so that no two wait for one another.
func (c *cache) useAll(ids []string, f func(runs []*exhibit.Run, changed []int64)) {
	var runs []*exhibit.Run
	var changed []int64
	var next func(rest []string)
	next = func(rest []string) {
		if len(rest) == 0 {
			f(runs, changed)
			return
		}
		c.of(rest[0]).use(func(r *exhibit.Run, at int64) {
			runs, changed = append(runs, r), append(changed, at)
			next(rest[1:])
		})
	}
	next(ids)
}

// digest tells two texts apart.
func digest(html template.HTML) string {
	sum := sha256.Sum256([]byte(html))
	return hex.EncodeToString(sum[:8])
}
