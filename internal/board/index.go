package board

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"prenas/internal/printable"
	"prenas/internal/rundir"
)

// Kinds of what is shown.
const (
	kindRun    = "run"
	kindSearch = "search"
	kindAudit  = "audit"
)

// item is something below the folder that has a page.
type item struct {
	Kind string
	ID   string    // its path from the folder, with slashes; "." is the folder itself
	Last time.Time // when it was written to
}

// Limits of the search for items.
const (
	maxDepth   = 12
	maxEntries = 20_000  // of a folder; one that has more is of images, and not looked through
	maxFolders = 100_000 // that are looked through
	maxItems   = 20_000
)

// index is what there is below a folder.
type index struct {
	root *os.Root

	mu    sync.Mutex
	at    time.Time // when it was made
	items []item    // what was written to last comes first
	notes []string  // what was not looked through
}

// get is the index, made anew if it is older than maxAge.
func (x *index) get(maxAge time.Duration) ([]item, []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.at.IsZero() || time.Since(x.at) > maxAge {
		s := scan{root: x.root}
		s.folder(".", 0)
		slices.SortStableFunc(s.items, func(a, b item) int { return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.ID, b.ID)) })
		if s.large > 0 {
			s.notes = append(s.notes, fmt.Sprintf("Not looked through: %s of more than %d entries.", printable.Count(s.large, "folder"), maxEntries))
		}
		x.items, x.notes, x.at = s.items, s.notes, time.Now()
	}
	return x.items, x.notes
}

// has tells whether there is an item, as of the newest index and, if not, of one made now.
func (x *index) has(kind, id string) bool {
	for _, age := range []time.Duration{time.Hour, time.Second} {
		items, _ := x.get(age)
		if slices.ContainsFunc(items, func(i item) bool { return i.Kind == kind && i.ID == id }) {
			return true
		}
	}
	return false
}

// scan looks for items.
type scan struct {
	root    *os.Root
	items   []item
	notes   []string
	folders int
	large   int
}

// folder looks through a folder. Links are not followed.
func (s *scan) folder(name string, depth int) {
	if s.folders++; s.folders > maxFolders || len(s.items) >= maxItems || depth > maxDepth {
		if len(s.notes) == 0 {
			s.notes = append(s.notes, fmt.Sprintf("Not all is shown: at most %s are looked through, %d deep, for at most %s.", printable.Count(maxFolders, "folder"), maxDepth, printable.Count(maxItems, "run")))
		}
		return
	}
	f, err := s.root.Open(name)
	if err != nil {
		return // of somebody else, or gone
	}
	entries, err := f.ReadDir(maxEntries + 1)
	_ = f.Close() // it was only read
	if err != nil && err != io.EOF {
		return
	}
	if len(entries) > maxEntries {
		s.large++
		return
	}
	files := map[string]bool{}
	for _, e := range entries {
		if e.Type().IsRegular() {
			files[e.Name()] = true
		}
	}
	isRun := files[rundir.ManifestFile] && (files[rundir.MetricsFile] || files[rundir.CandidatesFile])
	if isRun {
		s.add(kindRun, name, path.Join(name, rundir.MetricsFile), path.Join(name, rundir.ManifestFile))
	}
	for _, e := range entries {
		if isRun && (!e.IsDir() || e.Name() == rundir.CheckpointsDir) {
			continue // what is in it is its own, but for folders that somebody put there
		}
		file := path.Join(name, e.Name())
		switch base, isJSON := strings.CutSuffix(e.Name(), ".json"); {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			s.folder(file, depth+1)
		case isJSON && files[e.Name()] && files[base+".meta.json"]:
			s.add(kindSearch, file, file)
		case files[e.Name()] && strings.HasSuffix(e.Name(), ".jsonl") && s.isAudit(file):
			s.add(kindAudit, file, file)
		}
	}
}

// add notes an item; the first of the files that is there says when it was written to.
func (s *scan) add(kind, id string, files ...string) {
	i := item{Kind: kind, ID: id}
	for _, name := range files {
		if info, err := s.root.Stat(name); err == nil {
			i.Last = info.ModTime()
			break
		}
	}
	s.items = append(s.items, i)
}

// isAudit tells a benchmark file by its first line.
func (s *scan) isAudit(name string) bool {
	f, err := s.root.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	line, err := bufio.NewReaderSize(io.LimitReader(f, 1<<20), 1<<12).ReadBytes('\n')
	if err != nil {
		return false
	}
	var header struct {
		Format int             `json:"format"`
		Draw   json.RawMessage `json:"draw"`
		Seeds  json.RawMessage `json:"seeds"`
		Recipe json.RawMessage `json:"recipe"`
	}
	return json.Unmarshal(line, &header) == nil && header.Format > 0 && header.Draw != nil && header.Seeds != nil && header.Recipe != nil
}

// regular tells whether a name below the folder is a file, and no link out of it.
func regular(root *os.Root, name string) bool {
	info, err := root.Stat(name)
	return err == nil && info.Mode()&fs.ModeType == 0
}
