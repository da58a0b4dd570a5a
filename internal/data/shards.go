package data

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// The splits that a shard can be of.
const (
	trainSplit = iota
	valSplit
	testSplit
	splitCount
)

// shardFile is a file that holds many images.
type shardFile struct {
	at    string   // path or address
	url   *url.URL // of an address
	split int
}

func (s shardFile) String() string {
	if s.url != nil {
		return s.url.Redacted()
	}
	return s.at
}

// shardPatterns is how the PATH of a source of shards is written, with their ending.
const shardPatterns = "a folder, or patterns as train-{000..127}%[1]s,test-*%[1]s; http(s) too"

// listShards lists the shards that patterns stand for, in order. A pattern is a folder, of
// any depth; a file; or has braces, as {000..127}, and wildcards, as *; commas outside
// braces stand between patterns. Shards in a folder end with one of endings. http and https
// addresses take braces only.
func listShards(patterns string, endings []string) ([]shardFile, error) {
	var names []string
	for _, pattern := range splitPatterns(patterns) {
		list, err := expandBraces(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pattern, err)
		}
		names = append(names, list...)
	}
	var shards []shardFile
	for _, name := range names {
		if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
			address, err := url.Parse(name)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrPattern, err)
			}
			if strings.Contains(address.Path, "*") {
				return nil, fmt.Errorf("%w: %s: an address takes braces, as {000..127}, and no *", ErrPattern, address.Redacted())
			}
			shards = append(shards, shardFile{name, address, splitOf(address.Path)})
			continue
		}
		files, err := listLocal(name, endings)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			shards = append(shards, shardFile{at: file, split: splitOf(filepath.ToSlash(file))})
		}
	}
	return shards, nil
}

// splitPatterns splits at commas outside braces.
func splitPatterns(text string) []string {
	inside := false
	return strings.FieldsFunc(text, func(r rune) bool {
		inside = r == '{' || inside && r != '}'
		return r == ',' && !inside
	})
}

func listLocal(name string, endings []string) (files []string, err error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && !info.IsDir():
		return []string{name}, nil
	case err == nil:
		err = filepath.WalkDir(name, func(file string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && hasEnding(file, endings) {
				files = append(files, file)
			}
			return err
		})
	case strings.ContainsAny(name, "*?["):
		if files, err = filepath.Glob(name); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", name, ErrPattern, err)
		}
	}
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%w in %s: want files that end in %s", ErrEmpty, name, strings.Join(endings, " or "))
	}
	return files, err
}

func hasEnding(file string, endings []string) bool {
	return slices.ContainsFunc(endings, func(ending string) bool { return strings.HasSuffix(file, ending) })
}

// splitOf tells a shard's split from the words of its file's name, else from those of its
// folder's: imagenet-val-003.tar and val/003.tar are of the validation split.
func splitOf(file string) int {
	for _, name := range []string{path.Base(file), path.Base(path.Dir(file))} {
		for _, word := range strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) }) {
			switch strings.ToLower(word) {
			case "train", "training":
				return trainSplit
			case "val", "valid", "validation":
				return valSplit
			case "test":
				return testSplit
			}
		}
	}
	return trainSplit
}

// setSplits gives a data set its splits. Where there is a validation but no test split, it
// is what is reported on, and choosing is done on a part of train.
func (d *Dataset) setSplits(splits [splitCount]Split) {
	d.Train, d.Test = splits[trainSplit], splits[testSplit]
	switch val := splits[valSplit]; {
	case val.Len() == 0:
	case d.Test.Len() == 0:
		d.Test = val
	default:
		d.HeldOut = val
	}
}
