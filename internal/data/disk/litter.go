package disk

import (
	"slices"
	"strings"
)

// litter are names, in lower case, of files and folders that systems and tools leave beside
// images. Those that begin with a dot are litter too.
var litter = []string{
	"__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found", "__pycache__",
	"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "recycler", "recycled", "@recycle", "@recently-snapshot",
	"network trash folder", "temporary items", "thevolumesettingsfolder", "picasa.ini", "zbthumbnail.info", "cvs",
}

// litterBegins and litterEnds are how names of litter begin or end, in lower case: folders of chkdsk, and what
// some file systems keep as files beside a file.
var litterBegins, litterEnds = []string{"~$", "found.00", "thumbs.db:"}, []string{":zone.identifier", "@synoeastream", "@synoresource"}

// IsLitter tells what is no class and no image whatever it holds, by its name.
func IsLitter(name string) bool {
	if strings.HasPrefix(name, ".") {
		return true
	}
	name = strings.ToLower(name)
	return slices.Contains(litter, name) ||
		slices.ContainsFunc(litterBegins, func(begin string) bool { return strings.HasPrefix(name, begin) }) ||
		slices.ContainsFunc(litterEnds, func(end string) bool { return strings.HasSuffix(name, end) })
}

// LitterIn is the first part of a slashed path that is litter; empty if none is.
func LitterIn(path string) string {
	for part := range strings.SplitSeq(path, "/") {
		if part != "." && part != ".." && IsLitter(part) {
			return part
		}
	}
	return ""
}
