package space

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"prenas/internal/fsys"
	"prenas/internal/nearest"
)

//go:embed builtin/*.yaml
var builtin embed.FS

// maxFile bounds a space file; real ones have a few hundred bytes.
const maxFile = 1 << 20

// Names are the built-in spaces: vision transformers, then convolutional
// networks, smallest first.
func Names() []string {
	return []string{"quickstart", "tiny", "small", "base", "conv-quickstart", "conv"}
}

// Load reads a built-in space by its name, or a YAML file. A name that is
// built in wins over a file that happens to be called the same; write ./tiny
// for the file.
//
// A file has the original's form: SUPERNET and SEARCH_SPACE, and optionally
// MODEL and INTERVAL. See [Parse].
func Load(nameOrFile string) (*Space, error) {
	for _, name := range Names() {
		if nameOrFile == name {
			text, err := builtin.ReadFile(path.Join("builtin", name+".yaml"))
			if err != nil {
				return nil, err
			}
			s, err := Parse(name, name, text)
			if err == nil {
				s.ClassesGiven = false // by us, not by the user
			}
			return s, err
		}
	}
	f, err := fsys.OpenRegular(nameOrFile)
	if errors.Is(err, fs.ErrNotExist) {
		meant := ""
		if name, edits := nearest.Name(nameOrFile, Names()); edits <= 2 {
			meant = "; did you mean " + name + "?"
		}
		return nil, fmt.Errorf("%w %q: there is no such file, and the built-in spaces are %s%s", ErrUnknownSpace, nameOrFile, strings.Join(Names(), ", "), meant)
	}
	if errors.Is(err, fsys.ErrNotRegular) {
		why := "it is no file"
		if info, err := os.Stat(nameOrFile); err == nil && info.IsDir() {
			why = "it is a folder"
		}
		return nil, fmt.Errorf("%w %q: %s; a space is a YAML file, or one of %s", ErrUnknownSpace, nameOrFile, why, strings.Join(Names(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("space file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("space file %s: %w", nameOrFile, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: %w: larger than %d bytes", nameOrFile, ErrSyntax, maxFile)
	}
	base := filepath.Base(nameOrFile)
	return Parse(strings.TrimSuffix(base, filepath.Ext(base)), nameOrFile, text)
}
