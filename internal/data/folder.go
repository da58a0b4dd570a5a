package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/augment"
)

// openFolder opens a folder of images. Classes are the names of the sub-folders of the
// first split that there is, in order.
func openFolder(_ context.Context, dir string, _ Options) (*Dataset, error) {
	train, val, test, err := splitFolders(dir)
	if err != nil {
		return nil, fmt.Errorf("folder source: %w", err)
	}
	d := &Dataset{Channels: 3, Train: none{}}
	digest := sha256.New()
	for _, split := range []struct {
		dir string
		to  *Split
	}{{train, &d.Train}, {val, &d.HeldOut}, {test, &d.Test}} {
		if split.dir == "" {
			continue
		}
		f, err := listFolder(split.dir, &d.Classes)
		if err != nil {
			return nil, err
		}
		f.digest(digest)
		*split.to = f
	}
	d.Digest = hex.EncodeToString(digest.Sum(nil))
	return d, nil
}

// splitFolders finds the folders of the splits, empty ones for those that there are not: the
// sub-folders train, val and test, where there is a train or nothing else, so that images
// to measure on are enough; else the folder itself is train. Where val has no test beside
// it, as in ImageNet's form, it is what is reported on, and choosing is done on a part of
// train.
func splitFolders(dir string) (train, val, test string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", "", "", err
	}
	classes := 0
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		is, err := isFolder(path)
		if err != nil {
			return "", "", "", err
		}
		switch name := e.Name(); {
		case !is:
		case name == "train":
			train = path
		case name == "val", name == "validation" && val == "":
			val = path
		case name == "test":
			test = path
		default:
			classes++
		}
	}
	if train == "" && (classes > 0 || val == "" && test == "") {
		return dir, "", "", nil
	}
	if test == "" {
		val, test = "", val
	}
	return train, val, test, nil
}

type folderFile struct {
	path, name string
	label      int
	size       int64
	folder     bool // a link to one, which is not followed
	nowhere    bool // a link to nothing
}

// missing is the error of a file that was a link to nothing from the start.
func (f folderFile) missing() error {
	if f.nowhere {
		return &DamagedImage{f.path, fmt.Errorf("%w: a link to nothing", ErrFormat)}
	}
	return nil
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

func (f folder) Image(i int) (Image, error) {
	if err := f.files[i].missing(); err != nil {
		return Image{}, err
	}
	return readImage(f.files[i].path)
}

func (f folder) part(i int, choose func(height, width int) augment.Cut, use func(augment.Piece)) error {
	if err := f.files[i].missing(); err != nil {
		return err
	}
	text, err := readLimited(f.files[i].path)
	if err == nil {
		err = decodePart(text, choose, use)
	}
	return explain(f.files[i].path, err)
}

// listFolder lists the images below dir; the first folder below dir, or a link
// to one, is the class. With no classes yet, it sets them; else all must be
// known. A link to nothing is listed too: it is a damaged image when it is
// asked for, so that nothing is left out unseen. What the system keeps back is an error.
func listFolder(dir string, classes *[]string) (folder, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return folder{}, fmt.Errorf("folder source: %w", err)
	}
	var names []string
	loose := 0 // images of no class
	for _, e := range entries {
		is, err := isFolder(filepath.Join(dir, e.Name()))
		if err != nil {
			return folder{}, fmt.Errorf("folder source: %w", err)
		}
		if is {
			names = append(names, e.Name())
		} else if isImage(e.Name()) {
			loose++
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
	if len(f.files) == 0 && loose > 0 {
		return folder{}, fmt.Errorf("%w of any class in %s: images lie in it (%d), not in a sub-folder for each class", ErrEmpty, dir, loose)
	}
	if len(f.files) == 0 {
		return folder{}, fmt.Errorf("%w in %s: want a sub-folder of images (%s) for each class", ErrEmpty, dir, strings.Join(imageEndings, " "))
	}
	return f, nil
}

func isImage(name string) bool {
	return slices.Contains(imageEndings, strings.ToLower(filepath.Ext(name)))
}

// add lists the images below one class's folder. Links to folders below it are
// not followed, as they may lead in circles: each counts as a damaged image.
func (f *folder) add(dir, class string, label int) error {
	root := filepath.Join(dir, class) + string(filepath.Separator) // follows a link
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		isLink := e.Type()&fs.ModeSymlink != 0
		if !isImage(path) && !isLink {
			return nil
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		file, err := listed(filepath.Dir(path), e, name)
		if err != nil {
			return err
		}
		if file.label = label; isImage(path) || file.folder || file.nowhere {
			f.files = append(f.files, file)
		}
		return nil
	})
}

// readImage reads an image file as RGB. Where it is damaged the error is a DamagedImage.
func readImage(path string) (Image, error) {
	text, err := readLimited(path)
	var img Image
	if err == nil {
		img, err = decode(text)
	}
	return img, explain(path, err)
}
