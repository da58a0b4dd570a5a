package data

import (
	"slices"
	"strings"
)

// litter are names, in lower case, of files and folders that systems and tools leave beside
// images. Those that begin with a dot are litter too.
var litter = []string{
	"__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found", "__pycache__",
	"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "recycler",
}

// isLitter tells what is no class and no image whatever it holds, by its name.
func isLitter(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~$") || slices.Contains(litter, strings.ToLower(name))
}

// litterIn is the first part of a slashed path that is litter; empty if none is.
func litterIn(path string) string {
	for part := range strings.SplitSeq(path, "/") {
		if part != "." && part != ".." && isLitter(part) {
			return part
		}
	}
	return ""
}
