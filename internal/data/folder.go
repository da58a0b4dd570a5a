package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// openFolder opens train, val (or held-out) and test sub-folders where there
// is a train, else the folder itself as train and, by the caller, held out
// from it. Classes are the sub-folders' names, in order.
func openFolder(_ context.Context, dir string, _ Options) (*Dataset, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("folder source: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("folder source: %s is not a folder", dir)
	}
	d := &Dataset{Channels: 3}
	digest := sha256.New()
	open := func(dir string) (Split, error) {
		f, err := listFolder(dir, &d.Classes)
		if err != nil {
			return nil, err
		}
		for _, file := range f.files {
			fmt.Fprintf(digest, "%s\x00%d\x00", filepath.ToSlash(file.name), file.size)
		}
		return f, nil
	}
	sub := func(names ...string) string {
		for _, name := range names {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.IsDir() {
				return filepath.Join(dir, name)
			}
		}
		return ""
	}
	train := sub("train")
	if train == "" {
		train = dir
	}
	if d.Train, err = open(train); err != nil {
		return nil, err
	}
	d.Test = folder{}
	if train != dir {
		// ImageNet's form has train and val, and reports on val: what is reported
		// on is test, and choosing is done on a part of train.
		if test := sub("test", "val", "validation"); test != "" {
			if d.Test, err = open(test); err != nil {
				return nil, err
			}
		}
	}
	d.Digest = hex.EncodeToString(digest.Sum(nil))
	return d, nil
}

type folderFile struct {
	path, name string
	label      int
	size       int64
}

type folder struct{ files []folderFile }

func (f folder) Len() int        { return len(f.files) }
func (f folder) Label(i int) int { return f.files[i].label }

func (f folder) Image(i int) (Image, error) { return readImage(f.files[i].path) }

// listFolder lists the images below dir; the first folder below dir is the
// class. With no classes yet, it sets them; else all must be known.
func listFolder(dir string, classes *[]string) (folder, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return folder{}, fmt.Errorf("folder source: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	if *classes == nil {
		*classes = names
	}
	var f folder
	for _, name := range names {
		label := slices.Index(*classes, name)
		if label < 0 {
			return folder{}, fmt.Errorf("folder source: %w: %s is a class that train does not have", ErrFormat, filepath.Join(dir, name))
		}
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !slices.Contains(imageEndings, strings.ToLower(filepath.Ext(path))) {
				return err
			}
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			f.files = append(f.files, folderFile{path, relative, label, info.Size()})
			return nil
		})
		if err != nil {
			return folder{}, fmt.Errorf("folder source: %w", err)
		}
	}
	if len(f.files) == 0 {
		return folder{}, fmt.Errorf("%w in %s: want a sub-folder of images (%s) for each class", ErrEmpty, dir, strings.Join(imageEndings, " "))
	}
	return f, nil
}

func readImage(path string) (Image, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Image{}, err
	}
	if info.Size() > maxBytes {
		return Image{}, fmt.Errorf("%s: %w: %d bytes are more than %d", path, ErrFormat, info.Size(), maxBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Image{}, err
	}
	img, err := decode(text)
	if err != nil {
		return Image{}, fmt.Errorf("%s: %w", path, err)
	}
	return img, nil
}

