// Package version says what build of prenas runs, for files that tell what wrote them.
package version

import (
	"cmp"
	"runtime/debug"
)

// Unknown is the version of a build that carries none, such as a test's.
const Unknown = "unknown"

// String is the version of the module prenas, such as v1.2.3; of a build from a working
// tree without one, its revision, with +dirty where files had been changed; else Unknown.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Unknown
	}
	return of(info)
}

func of(info *debug.BuildInfo) string {
	const path, none = "prenas", "(devel)" // none: what Go says where it knows no version
	for _, m := range info.Deps {
		if m.Path == path { // a program that imports pkg/prenas
			return cmp.Or(m.Version, Unknown)
		}
	}
	if v := info.Main.Version; v != "" && v != none {
		return v
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+dirty"
		}
	}
	if revision == "" {
		return Unknown
	}
	return revision[:min(12, len(revision))] + changed
}
