package data

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// shardPatterns is how the PATH of a sharded source is written.
const shardPatterns = "a folder of shards, or patterns such as train-{000..099}%[1]s,test-*%[1]s, http(s) too; shards whose names begin with test or val are the test split"

// maxShards bounds what one pattern may stand for.
const maxShards = 1 << 20

// listShards lists the training and the test shards of a PATH: files with one of
// the endings, or web addresses.
func listShards(source string, endings ...string) (train, test []string, err error) {
	var all []string
	if info, err := os.Stat(source); err == nil && info.IsDir() {
		entries, err := os.ReadDir(source)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range entries {
			if slices.ContainsFunc(endings, func(end string) bool { return strings.HasSuffix(e.Name(), end) }) {
				all = append(all, filepath.Join(source, e.Name()))
			}
		}
	} else {
		for _, pattern := range splitPatterns(source) {
			names, err := expand(pattern)
			if err != nil {
				return nil, nil, err
			}
			for _, name := range names {
				if isWeb(name) {
					all = append(all, name)
					continue
				}
				found, err := filepath.Glob(name)
				if err != nil {
					return nil, nil, fmt.Errorf("%w: pattern %q: %v", ErrSource, name, err)
				}
				if len(found) == 0 {
					return nil, nil, fmt.Errorf("%w: %s matches no file", ErrEmpty, name)
				}
				all = append(all, found...)
			}
		}
	}
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("%w in %s: shards end in %s", ErrEmpty, source, strings.Join(endings, " "))
	}
	for _, name := range all {
		base := filepath.Base(name)
		if isWeb(name) {
			if address, err := url.Parse(name); err == nil {
				base = path.Base(address.Path)
			}
		}
		if strings.HasPrefix(base, "test") || strings.HasPrefix(base, "val") {
			test = append(test, name)
		} else {
			train = append(train, name)
		}
	}
	return train, test, nil
}

func isWeb(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// splitPatterns splits at commas outside braces.
func splitPatterns(text string) []string {
	var parts []string
	depth, from := 0, 0
	for i, c := range text {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	return append(parts, text[from:])
}

// expand replaces {a,b} and {000..123} by all that they stand for, as a shell does.
func expand(pattern string) ([]string, error) {
	open := strings.IndexByte(pattern, '{')
	if open < 0 {
		return []string{pattern}, nil
	}
	length := strings.IndexByte(pattern[open:], '}')
	if length < 0 {
		return nil, fmt.Errorf("%w: %q has a { without a }", ErrSource, pattern)
	}
	inside := pattern[open+1 : open+length]
	var choices []string
	if low, high, is := strings.Cut(inside, ".."); is {
		a, err1 := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || a < 0 || b < a || b-a >= maxShards {
			return nil, fmt.Errorf("%w: {%s} in %q is no range of up to %d numbers", ErrSource, inside, pattern, maxShards)
		}
		for i := a; i <= b; i++ {
			choices = append(choices, fmt.Sprintf("%0*d", len(low), i))
		}
	} else {
		choices = strings.Split(inside, ",")
	}
	rest, err := expand(pattern[open+length+1:])
	if err != nil {
		return nil, err
	}
	if len(choices)*len(rest) > maxShards {
		return nil, fmt.Errorf("%w: %q stands for more than %d shards", ErrSource, pattern, maxShards)
	}
	var all []string
	for _, choice := range choices {
		for _, end := range rest {
			all = append(all, pattern[:open]+choice+end)
		}
	}
	return all, nil
}
