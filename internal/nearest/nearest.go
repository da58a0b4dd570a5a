// Package nearest finds what a reader of an error most likely meant.
package nearest

import "github.com/agnivade/levenshtein"

// longest is how much of a written name is compared, in bytes: a hostile name
// must not cost quadratic time.
const longest = 64

// Name is the known name with the fewest edits (Levenshtein's distance) from
// what was written, the first in the order of the alphabet among equals, and
// that distance. Without any known name it is empty.
func Name(written string, known []string) (name string, edits int) {
	written = written[:min(len(written), longest)]
	for _, k := range known {
		d := levenshtein.ComputeDistance(written, k)
		if name == "" || d < edits || (d == edits && k < name) {
			name, edits = k, d
		}
	}
	return name, edits
}
