package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/augment"
)

// openFolder opens train, val and test sub-folders where there is a train, else
// the folder itself as train. Where val has no test beside it, as in ImageNet's
// form, it is what is reported on, and choosing is done on a part of train.
// Classes are the sub-folders' names, in order.
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
		f.digest(digest)
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
	if train != dir {
		val, test := sub("val", "validation"), sub("test")
		if test == "" {
			val, test = "", val
		}
		if val != "" {
			if d.HeldOut, err = open(val); err != nil {
				return nil, err
			}
		}
		if test != "" {
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

// digest adds names and sizes to a digest.
func (f folder) digest(h hash.Hash) {
	for _, file := range f.files {
		fmt.Fprintf(h, "%s\x00%d\x00", filepath.ToSlash(file.name), file.size)
	}
}

func (f folder) Len() int        { return len(f.files) }
func (f folder) Label(i int) int { return f.files[i].label }

func (f folder) Image(i int) (Image, error) { return readImage(f.files[i].path) }

func (f folder) part(i int, choose func(height, width int) augment.Cut) (p augment.Piece, err error) {
	path := f.files[i].path
	text, err := readLimited(path)
	if err == nil {
		p, err = decodePart(text, choose)
	}
	if err != nil {
		return p, &DamagedImage{path, err}
	}
	return p, nil
}

// listFolder lists the images below dir; the first folder below dir, or a link
// to one, is the class. With no classes yet, it sets them; else all must be
// known. What cannot be read is listed too: it is a damaged image when it is
// asked for, so that nothing is left out unseen.
func listFolder(dir string, classes *[]string) (folder, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return folder{}, fmt.Errorf("folder source: %w", err)
	}
	var names []string
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() {
			names = append(names, e.Name())
		}
	}
	if *classes == nil {
		*classes = names
	}
	var f folder
	for _, name := range names {
		label := slices.Index(*classes, name)
		if label < 0 {
			return folder{}, fmt.Errorf("folder source: %w: %s is a class that train does not have", ErrFormat, filepath.Join(dir, name))
		}
		if err := f.add(dir, name, label); err != nil {
			return folder{}, fmt.Errorf("folder source: %w", err)
		}
	}
	if len(f.files) == 0 {
		return folder{}, fmt.Errorf("%w in %s: want a sub-folder of images (%s) for each class", ErrEmpty, dir, strings.Join(imageEndings, " "))
	}
	return f, nil
}

// add lists the images below one class's folder. Links to folders below it are
// not followed, as they may lead in circles: each counts as a damaged image.
func (f *folder) add(dir, class string, label int) error {
	root := filepath.Join(dir, class) + string(filepath.Separator) // follows a link
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		file := folderFile{path: path, label: label}
		if relative, err := filepath.Rel(dir, path); err == nil {
			file.name = relative
		}
		switch {
		case err != nil && path == root && e == nil:
			return err
		case err != nil: // a folder that cannot be read
			file.path = path
		case e.IsDir():
			return nil
		default:
			info, err := os.Stat(path)
			isImage := slices.Contains(imageEndings, strings.ToLower(filepath.Ext(path)))
			link := e.Type()&fs.ModeSymlink != 0 && (err != nil || info.IsDir())
			if !isImage && !link {
				return nil
			}
			if err == nil {
				file.size = info.Size()
			}
		}
		f.files = append(f.files, file)
		return nil
	})
}

// readImage reads an image file as RGB. Its errors are DamagedImage.
func readImage(path string) (Image, error) {
	text, err := readLimited(path)
	if err == nil {
		var img Image
		if img, err = decode(text); err == nil {
			return img, nil
		}
	}
	return Image{}, &DamagedImage{path, err}
}

// readLimited reads a file that must not be larger than an image may be.
func readLimited(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, withoutPath(err)
	case info.IsDir():
		return nil, fmt.Errorf("%w: a folder that cannot be listed, or a link to one", ErrFormat)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: neither a file nor a link to one", ErrFormat)
	case info.Size() > maxBytes:
		return nil, fmt.Errorf("%w: %d bytes are more than %d", ErrFormat, info.Size(), maxBytes)
	}
	text, err := os.ReadFile(path)
	return text, withoutPath(err)
}

// withoutPath drops the path that the caller names.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
