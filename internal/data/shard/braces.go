package shard

import (
	"fmt"
	"strconv"
	"strings"

	"prenas/internal/data"
)

// maxNames bounds what the braces of one pattern may stand for.
const maxNames = 1 << 20

// expandBraces writes out {000..127}, numbers with the zeros that they are
// written with, and {a,b}, in order, the last brace running fastest, as shells
// do. Braces do not nest.
func expandBraces(pattern string) ([]string, error) {
	before, rest, found := strings.Cut(pattern, "{")
	if !found {
		if strings.Contains(pattern, "}") {
			return nil, fmt.Errorf("%w: } without { before it", data.ErrPattern)
		}
		return []string{pattern}, nil
	}
	inside, after, closed := strings.Cut(rest, "}")
	if !closed || strings.Contains(inside, "{") || strings.Contains(before, "}") {
		return nil, fmt.Errorf("%w: each { needs a }, and none may stand inside another", data.ErrPattern)
	}
	heads, err := expandBrace(inside)
	if err != nil {
		return nil, err
	}
	tails, err := expandBraces(after)
	if err != nil {
		return nil, err
	}
	if len(heads) > maxNames/len(tails) {
		return nil, fmt.Errorf("%w: its braces stand for more than %d names", data.ErrPattern, maxNames)
	}
	names := make([]string, 0, len(heads)*len(tails))
	for _, head := range heads {
		for _, tail := range tails {
			names = append(names, before+head+tail)
		}
	}
	return names, nil
}

// expandBrace writes out what stands between two braces.
func expandBrace(inside string) ([]string, error) {
	from, to, isRange := strings.Cut(inside, "..")
	if !isRange {
		return strings.Split(inside, ","), nil
	}
	first, err1 := strconv.ParseUint(from, 10, 32)
	last, err2 := strconv.ParseUint(to, 10, 32)
	if err1 != nil || err2 != nil || first > last || last-first >= maxNames {
		return nil, fmt.Errorf("%w: {%s} is no range of up to %d numbers, as {000..127} is", data.ErrPattern, inside, maxNames)
	}
	width := 0
	if strings.HasPrefix(from, "0") || strings.HasPrefix(to, "0") {
		width = max(len(from), len(to))
	}
	var names []string
	for k := first; k <= last; k++ {
		names = append(names, fmt.Sprintf("%0*d", width, k))
	}
	return names, nil
}
