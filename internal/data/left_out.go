package data

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"prenas/internal/picture"
	"prenas/internal/printable"
)

// LeftOut counts the files of a source that are not among its images.
type LeftOut struct {
	Files  []LeftOutFiles `json:"files,omitempty"`  // that are no image that is read, the most frequent ending first
	Loose  int            `json:"loose,omitempty"`  // images in no class's folder
	Litter int            `json:"litter,omitempty"` // what tools leave behind: each file or folder once
}

// LeftOutFiles are those of an ending.
type LeftOutFiles struct {
	Ending string `json:"ending"` // in lower case, with its dot; empty for none
	Count  int    `json:"count"`
	What   string `json:"what,omitempty"` // what the first of them is, if that is known
}

// Tally collects what a LeftOut tells.
type Tally struct {
	files  map[string]*LeftOutFiles
	Loose  int
	Litter int
}

// File counts a file that is not read as an image; head is how it begins.
func (l *Tally) File(name string, head []byte) {
	if l.files == nil {
		l.files = map[string]*LeftOutFiles{}
	}
	ending := strings.ToLower(path.Ext(name))
	if l.files[ending] == nil {
		l.files[ending] = &LeftOutFiles{Ending: ending, What: picture.Identify(head).Name}
	}
	l.files[ending].Count++
}

// Add adds the counts of another one.
func (l *Tally) Add(other Tally) {
	l.Loose, l.Litter = l.Loose+other.Loose, l.Litter+other.Litter
	for ending, files := range other.files {
		if l.files == nil {
			l.files = map[string]*LeftOutFiles{}
		}
		if had := l.files[ending]; had != nil {
			had.Count += files.Count
			had.What = cmp.Or(had.What, files.What)
			continue
		}
		one := *files
		l.files[ending] = &one
	}
}

func (l *Tally) List() LeftOut {
	all := LeftOut{Loose: l.Loose, Litter: l.Litter}
	for _, files := range l.files {
		all.Files = append(all.Files, *files)
	}
	slices.SortFunc(all.Files, func(a, b LeftOutFiles) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Ending, b.Ending))
	})
	return all
}

// Instead is what there was, as the end of an error; empty if there was nothing.
func (l *Tally) Instead() string {
	text := l.List().String()
	if text == "" {
		return ""
	}
	return "; left out: " + text
}

// manyEndings is how many endings a line names.
const manyEndings = 8

// String is what was left out, as a sentence goes on; empty if nothing was.
func (l LeftOut) String() string {
	var parts []string
	for i, f := range l.Files {
		if i == manyEndings {
			rest := 0
			for _, f := range l.Files[i:] {
				rest += f.Count
			}
			parts = append(parts, fmt.Sprintf("%d of %d other endings", rest, len(l.Files)-i))
			break
		}
		name := f.Ending
		if name == "" {
			name = "without an ending"
		}
		if f.What != "" {
			name += " (" + f.What + ")"
		}
		parts = append(parts, fmt.Sprintf("%d %s", f.Count, name))
	}
	text := ""
	if len(parts) > 0 {
		text = "files that are not read as images: " + strings.Join(parts, ", ")
	}
	litter := fmt.Sprintf("%d files or folders that tools leave behind", l.Litter)
	if l.Litter == 1 {
		litter = "1 file or folder that tools leave behind"
	}
	for _, more := range []struct {
		count int
		text  string
	}{{l.Loose, printable.Count(l.Loose, "image") + " in no class's folder"}, {l.Litter, litter}} {
		if more.count == 0 {
			continue
		}
		if text != "" {
			text += "; "
		}
		text += more.text
	}
	return text
}
