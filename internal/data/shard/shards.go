package shard

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/data"
	"prenas/internal/data/disk"
	"prenas/internal/data/layout"
)

// shardFile is a file that holds many images.
type shardFile struct {
	at    string   // path or address
	url   *url.URL // of an address
	root  string   // the folder in which it was looked for, or in which it lies
	split int
	named bool // its name or its folder's says the split
}

func (s shardFile) String() string {
	if s.url != nil {
		return s.url.Redacted()
	}
	return s.at
}

// shardPatterns is how the PATH of a source of shards is written, with their ending.
const Patterns = "a folder, or patterns as train-{000..127}%[1]s,test-*%[1]s; http(s) too"

// listShards lists the shards that patterns stand for, in order. A pattern is a folder, of
// any depth; a file; or has braces, as {000..127}, and wildcards, as *; commas outside
// braces stand between patterns. Shards in a folder end with one of endings. http and https
// addresses take braces only.
func listShards(patterns string, endings []string) ([]shardFile, error) {
	var names []string
	for _, pattern := range SplitPatterns(patterns) {
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
				return nil, fmt.Errorf("%w: %w", data.ErrPattern, err)
			}
			if strings.Contains(address.Path, "*") {
				return nil, fmt.Errorf("%w: %s: an address takes braces, as {000..127}, and no *", data.ErrPattern, address.Redacted())
			}
			shards = append(shards, newShard(shardFile{at: name, url: address}, address.Path))
			continue
		}
		files, err := listLocal(name, endings)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			root := filepath.Dir(file)
			if is, _ := disk.IsFolder(name); is {
				root = filepath.Clean(name)
			} else if _, sure := layout.SplitIn(filepath.Base(root)); sure { // a split's, beside which classes are listed
				root = filepath.Dir(root)
			}
			shards = append(shards, newShard(shardFile{at: file, root: root}, filepath.ToSlash(file)))
		}
	}
	return shards, nil
}

// SplitPatterns splits at commas outside braces.
func SplitPatterns(text string) []string {
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
			if e != nil && file != name && disk.IsLitter(e.Name()) {
				if e.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if err == nil && !e.IsDir() && hasEnding(file, endings) {
				files = append(files, file)
			}
			return err
		})
	case strings.ContainsAny(name, "*?["):
		if files, err = filepath.Glob(name); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", name, data.ErrPattern, err)
		}
		files = slices.DeleteFunc(files, func(file string) bool { return disk.IsLitter(filepath.Base(file)) })
	}
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%w in %s: want files that end in %s", data.ErrEmpty, name, strings.Join(endings, " or "))
	}
	return files, err
}

func hasEnding(file string, endings []string) bool {
	return slices.ContainsFunc(endings, func(ending string) bool { return strings.HasSuffix(file, ending) })
}

// newShard tells a shard's split from the words of its file's name, else from those of its
// folder's: imagenet-val-003.tar and val/003.tar are of the validation split. Without any it is
// train.
func newShard(s shardFile, file string) shardFile {
	for _, name := range []string{path.Base(file), path.Base(path.Dir(file))} {
		if split, _ := layout.SplitIn(name); split != data.NoSplit {
			s.split, s.named = split, true
			return s
		}
	}
	s.split = data.TrainSplit
	return s
}
