package source

import (
	"path/filepath"

	"prenas/internal/data/layout"
	"prenas/internal/fsys"
)

// Holds tells whether what is written into a folder would be among the images of a source,
// or in the place of what it is read from: the folder is that of a pack, or is or lies
// in one in which images are looked for. A source that cannot be opened holds nothing.
func Holds(src, folder string) bool {
	source, path, err := parseSource(src)
	if err != nil {
		return false
	}
	switch source.kind {
	case "pack":
		return fsys.Same(folder, path)
	case "folder":
		l, err := layout.Find(diskTree(path), path, nil)
		if err != nil {
			return false
		}
		for split, has := range l.Has {
			if has && fsys.Within(folder, filepath.Join(path, filepath.FromSlash(l.Dirs[split]))) {
				return true
			}
		}
	case "imagenet":
		return fsys.Within(folder, filepath.Join(path, "train")) || fsys.Within(folder, filepath.Join(path, "val"))
	}
	return false
}
