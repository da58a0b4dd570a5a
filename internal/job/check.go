package job

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/data/inspect"
	"prenas/internal/data/pack"
	"prenas/internal/data/source"
	"prenas/internal/evaluate"
	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/rundir"
	"prenas/internal/sealed"
	"prenas/internal/strictjson"
	"prenas/internal/tensorfile"
)

// State of a file that was checked.
type State string

// States of a file.
//
//   - Sound: its bytes agree with the digest that it carries, or that another file has of it.
//   - Damaged: they do not, or it cannot be read as what it should be.
//   - Unchecked: nothing has a digest of it.
const (
	Sound     State = "sound"
	Damaged   State = "damaged"
	Unchecked State = "unchecked"
)

// CheckedFile is what Check found of a file.
type CheckedFile struct {
	File  string `json:"file"`
	State State  `json:"state"`
	Why   string `json:"why,omitempty"`
}

// Checked is what Check found.
type Checked struct {
	Files     []CheckedFile `json:"files"`
	Sound     int           `json:"sound"`
	Damaged   int           `json:"damaged"`
	Unchecked int           `json:"unchecked"`
}

// checking is a Check in progress.
type checking struct {
	files map[string]*CheckedFile
}

// note records what was found of a file. A file that was found damaged stays so. A file that was
// unchecked becomes sound where another file has its digest.
func (c *checking) note(path string, state State, why string) {
	f, known := c.files[path]
	if !known {
		c.files[path] = &CheckedFile{path, state, why}
		return
	}
	if f.State != Damaged && state != Unchecked {
		f.State, f.Why = state, why
	}
}

// found records the outcome of a check against a digest: nil is sound, an error is damage.
func (c *checking) found(path string, err error) {
	if err == nil {
		c.note(path, Sound, "")
		return
	}
	c.note(path, Damaged, strings.TrimPrefix(err.Error(), path+": "))
}

// Check reads files whole and finds those whose bytes are not the ones that were written. A path may
// be a run directory, an exported model, a candidates file with the files beside it, a packed data
// set, or a folder that holds such things, as the cache folder does. It changes nothing.
func Check(ctx context.Context, path string, progress func(done, total int)) (Checked, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Checked{}, err
	}
	c := &checking{files: map[string]*CheckedFile{}}
	var paths []string
	switch {
	case info.IsDir():
		err = filepath.WalkDir(path, func(at string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
				paths = append(paths, at)
			}
			return err
		})
		if err != nil {
			return Checked{}, err
		}
	default:
		paths = []string{path}
		for _, sibling := range []string{path + ".json", path + ".md", metaPath(path), sumsPath(path), partsPath(path)} {
			if info, err := os.Stat(sibling); err == nil && info.Mode().IsRegular() && sibling != path {
				paths = append(paths, sibling)
			}
		}
	}
	for i, file := range paths {
		if err := ctx.Err(); err != nil {
			return Checked{}, err
		}
		c.file(file)
		switch filepath.Base(file) {
		case "manifest.json":
			c.run(filepath.Dir(file))
		case pack.File:
			if err := c.pack(ctx, filepath.Dir(file)); err != nil {
				return Checked{}, err
			}
		}
		if progress != nil {
			progress(i+1, len(paths))
		}
	}
	return c.sum(), nil
}

func (c *checking) sum() Checked {
	var all Checked
	for _, path := range slices.Sorted(maps.Keys(c.files)) {
		f := c.files[path]
		all.Files = append(all.Files, *f)
		switch f.State {
		case Sound:
			all.Sound++
		case Damaged:
			all.Damaged++
		case Unchecked:
			all.Unchecked++
		}
	}
	return all
}

// file checks one file, and the files whose digests it holds.
func (c *checking) file(path string) {
	const noDigest = "there is no digest of it"
	has, err := false, error(nil)
	switch filepath.Ext(path) {
	case ".safetensors":
		has, err = tensorfile.Check(path)
	case ".onnx":
		has, err = export.CheckONNX(path)
	case ".json":
		has, err = c.json(path)
	case ".jsonl":
		has, err = lines(path)
	}
	switch {
	case err != nil || has:
		c.found(path, err)
	default:
		c.note(path, Unchecked, noDigest)
	}
}

// json checks a file of JSON, and the files that were written with it.
func (c *checking) json(path string) (has bool, err error) {
	text, err := fsys.ReadText(fsys.OS, path)
	if err != nil {
		return false, err
	}
	content, has, err := sealed.Check(text)
	if err == nil {
		err = strictjson.Unmarshal(content, new(any))
		if err != nil && !errors.Is(err, strictjson.ErrTwice) {
			err = errors.New("it is not JSON: it was cut off or damaged")
		}
	}
	if err != nil {
		return has, err
	}
	var set struct {
		Files map[string]string `json:"files"`
	}
	if json.Unmarshal(content, &set) != nil { // it has no list of files
		return has, nil
	}
	for name, want := range set.Files {
		other := filepath.Join(filepath.Dir(path), filepath.Base(name))
		switch got, err := fsys.Sum(other); {
		case err != nil:
			c.found(other, err)
		case got != want:
			c.note(other, Damaged, fmt.Sprintf("it is not the file that %s was written with: it was damaged, edited, or a command was cut between the two", filepath.Base(path)))
		default:
			c.note(other, Sound, "")
		}
	}
	return has, nil
}

// lines checks a file of JSON lines.
func lines(path string) (has bool, err error) {
	text, err := fsys.ReadText(fsys.OS, path)
	if err != nil {
		return false, err
	}
	content, has, err := sealed.CheckLines(text)
	if err != nil {
		return has, err
	}
	for number := 1; ; number++ {
		line, rest, whole := bytes.Cut(content, []byte("\n"))
		if !whole { // a process was killed while it wrote the line; the next start cuts it away
			return has, nil
		}
		switch err := strictjson.Unmarshal(line, new(any)); {
		case errors.Is(err, strictjson.ErrTwice):
			return has, fmt.Errorf("line %d: %w", number, err)
		case err != nil:
			return has, fmt.Errorf("line %d is not JSON", number)
		}
		content = rest
	}
}

// run checks that the files of a run agree with each other.
func (c *checking) run(dir string) {
	in := func(name string) string { return filepath.Join(dir, name) }
	manifest, err := rundir.ReadManifest(fsys.OS, dir)
	if err != nil {
		c.found(in("manifest.json"), err)
		return
	}
	if _, err := manifest.Trained(fsys.OS, dir); !errors.Is(err, fs.ErrNotExist) || manifest.Candidates != "" {
		c.found(in("candidates.json"), err)
	}
	if _, err := rundir.ReadMetrics(fsys.OS, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.note(in("metrics.jsonl"), Damaged, err.Error())
	}
	if has, err := rundir.CheckMetrics(fsys.OS, dir); has {
		c.found(in("metrics.jsonl"), err)
	}
	results, err := evaluate.ReadResults(fsys.OS, in(ResultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.found(in(ResultsFile), err)
		return
	}
	weights, step, err := rundir.Weights(fsys.OS, dir, manifest.Space, func(string, error) {}) // damage of a single file is found by the check of that file
	if err == nil && results.Weights != "" && results.Step == step && results.Weights != tensorfile.Digest(weights) {
		c.note(in(ResultsFile), Damaged, "it is of other weights or statistics than those in the run; prenas eval writes it anew")
	}
}

// pack checks every image of a packed form.
func (c *checking) pack(ctx context.Context, dir string) error {
	set, err := source.Open(ctx, "pack:"+dir, source.Options{})
	if err != nil {
		c.found(filepath.Join(dir, pack.File), err)
		return nil
	}
	checked, err := inspect.Check(ctx, set, 0, nil)
	if err != nil {
		return err
	}
	shards, err := filepath.Glob(filepath.Join(dir, "*.pack"))
	if err != nil {
		return err
	}
	for _, shard := range shards {
		c.note(shard, Sound, "")
	}
	for _, d := range checked.Damaged {
		shard, image, _ := strings.Cut(d.Image, ", ")
		c.note(shard, Damaged, image+": "+d.Why)
	}
	return nil
}
