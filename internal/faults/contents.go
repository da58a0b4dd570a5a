//go:build linux && amd64

package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"prenas/internal/tensorfile"
)

// contents are the files of a folder, by their paths in it.
type contents map[string][]byte

func read(dir string) (contents, error) {
	c := contents{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path) // it is below dir
		c[name] = withoutFolder(name, text, dir)
		return err
	})
	return c, err
}

// digest is a SHA-256 in hexadecimal.
var digest = regexp.MustCompile(`[0-9a-f]{64}`)

// withoutFolder is text without the folder that it was written in, which a manifest and results
// name, and in such a file without digests, which are of that too.
func withoutFolder(name string, text []byte, dir string) []byte {
	if ending := path.Ext(name); name != outputFile && ending != ".json" && ending != ".jsonl" && ending != ".md" && ending != ".html" {
		return text
	}
	plain := bytes.ReplaceAll(text, []byte(dir), []byte("DIR"))
	if name != outputFile && len(plain) != len(text) {
		plain = digest.ReplaceAll(plain, []byte("DIGEST"))
	}
	return plain
}

// ours are the files that a command is responsible for.
func (c contents) ours() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c)), func(name string) bool { return name == outputFile })
}

// differs says whether no two runs write a file alike.
func (s *stage) differs(name string) bool {
	return slices.ContainsFunc(s.Unlike, func(pattern string) bool {
		matches, _ := path.Match(pattern, name) // patterns are ours
		return matches
	})
}

// unlike says in what the files differ from those of a run without a fault.
func (s *stage) unlike(got contents) []string {
	var wrong []string
	for _, name := range s.clean.ours() {
		text, exists := got[name]
		switch {
		case !exists:
			wrong = append(wrong, name+" is missing")
		case !s.differs(name) && !isLock(name) && !same(name, text, s.clean[name]):
			wrong = append(wrong, fmt.Sprintf("%s differs (%d bytes instead of %d)", name, len(text), len(s.clean[name])))
		}
	}
	for _, name := range got.ours() {
		if _, exists := s.clean[name]; !exists {
			wrong = append(wrong, name+" stays")
		}
	}
	return wrong
}

func isLock(name string) bool { return strings.HasSuffix(name, "lock") }

// same compares two files. Figures that were measured are left out.
func same(name string, a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if path.Ext(name) != ".json" {
		return false
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(withoutMeasured(x), withoutMeasured(y))
}

func withoutMeasured(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			if slices.Contains([]string{"images_per_second", "time", "seconds", "sha256", "files"}, key) { // digests are of figures too
				delete(v, key)
				continue
			}
			v[key] = withoutMeasured(v[key])
		}
	case []any:
		for i := range v {
			v[i] = withoutMeasured(v[i])
		}
	}
	return value
}

var figures = regexp.MustCompile(`[-+]?[\d.]+`)

// lostOutput says whether the command printed less than it does without a fault; the
// figures may be others.
func (s *stage) lostOutput(got contents) []string {
	shape := func(c contents) string {
		return strings.Join(strings.Fields(figures.ReplaceAllString(string(c[outputFile]), "0")), " ")
	}
	if shape(got) != shape(s.clean) {
		return []string{fmt.Sprintf("it printed %d bytes instead of %d", len(got[outputFile]), len(s.clean[outputFile]))}
	}
	return nil
}

// notWhole says which files have their final names and are not whole.
func (s *stage) notWhole(got contents) []string {
	var wrong []string
	for _, name := range got.ours() {
		text := got[name]
		if old, existed := s.before[name]; existed && bytes.Equal(old, text) || isTemporary(name) || isLock(name) {
			continue
		}
		var err error
		switch clean, ends := s.clean[name]; {
		case path.Ext(name) == ".jsonl":
			err = wholeLines(text)
			if err == nil && !s.differs(name) && !bytes.HasPrefix(clean, text) {
				err = fmt.Errorf("is not how %s begins", name)
			}
		case ends && same(name, clean, text):
		case path.Ext(name) == ".json":
			err = json.Unmarshal(text, new(any))
		case path.Ext(name) == ".safetensors":
			err = readable(text)
		case path.Ext(name) == ".html":
			if !strings.HasSuffix(strings.TrimSpace(string(text)), "</html>") {
				err = fmt.Errorf("has no end")
			}
		case s.differs(name):
		default:
			err = fmt.Errorf("differs from what it ends as")
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s (%d bytes), which %v", name, len(text), err))
		}
	}
	return wrong
}

func isTemporary(name string) bool {
	return strings.HasPrefix(path.Base(name), ".") || strings.Contains(name, ".tmp-") || strings.HasPrefix(name, "tmp/")
}

// wholeLines checks that every line but the last is JSON; the last may be cut.
func wholeLines(text []byte) error {
	for line := range bytes.Lines(text) {
		if bytes.HasSuffix(line, []byte("\n")) && !json.Valid(line) {
			return fmt.Errorf("has a line that is no JSON")
		}
	}
	return nil
}

// readable checks a safetensors file.
func readable(text []byte) error {
	file, err := os.CreateTemp("", "faults-*.safetensors")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(text); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	_, err = tensorfile.Read(file.Name())
	return err
}
