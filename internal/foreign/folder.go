package foreign

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrPlace: a program or a library lies where none is taken from.
var ErrPlace = errors.New("programs and libraries are taken from absolute paths outside of the working folder alone")

// Library checks that the library at path may be loaded.
func Library(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is relative: %w", path, ErrPlace)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !outside(path) || !outside(filepath.Dir(path)) {
		return fmt.Errorf("%q lies in the working folder: %w; move it, or start prenas in another folder", path, ErrPlace)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q is not a file", path)
	}
	return LibraryPath(path)
}

// LibraryPath checks that the libraries that the one at path needs come from no place from
// where none is taken.
func LibraryPath(path string) error {
	for _, name := range libraryPaths {
		if _, dropped := split(os.Getenv(name)); len(dropped) > 0 {
			return fmt.Errorf("the environment variable %s names %s, from where the libraries that %s needs would be loaded: %w", name, list(dropped), path, ErrPlace)
		}
	}
	return nil
}

// outside tells whether an absolute path lies outside of the working folder. Whoever works
// in their home, or above it, has in the working folder all that they installed: there
// nothing but the folder itself counts as inside, and a library that lies directly in it.
func outside(path string) bool {
	working, err := os.Getwd()
	if err != nil { // it was removed, and holds nothing
		return true
	}
	wide := filepath.Dir(working) == working
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) && within(home, working) {
		wide = true
	}
	for _, p := range []string{path, real(path)} {
		for _, w := range []string{working, real(working)} {
			if p == w || !wide && within(p, w) {
				return false
			}
		}
	}
	return true
}

// real is a path without links, or the path itself where it cannot be followed.
func real(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	return filepath.Clean(path)
}

// within tells whether a path is a folder or lies in it.
func within(path, folder string) bool {
	relative, err := filepath.Rel(folder, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, ".."+string(filepath.Separator))
}

// libraryPaths are the environment variables in which systems look for folders of libraries.
var libraryPaths = []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"}

// split splits a list of folders into those that are safe and the others. An empty entry of
// a list means the working folder.
func split(value string) (safe, dropped []string) {
	if value == "" {
		return nil, nil
	}
	for _, dir := range filepath.SplitList(value) {
		if strings.HasPrefix(dir, "$ORIGIN") || filepath.IsAbs(dir) && outside(dir) {
			safe = append(safe, dir)
		} else {
			dropped = append(dropped, dir)
		}
	}
	return safe, dropped
}

// list names folders.
func list(folders []string) string {
	var names []string
	for _, f := range folders {
		names = append(names, fmt.Sprintf("%q", f))
	}
	return strings.Join(slices.Compact(names), ", ")
}
