package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"prenas/internal/data"
	"prenas/internal/data/codec"
	"prenas/internal/data/disk"
	"prenas/internal/data/layout"
	"prenas/internal/data/shard"
	"prenas/internal/picture"
)

// openFolder opens a folder of images. Classes are the names of the folders in that of the
// first split that there is, in order.
func openFolder(_ context.Context, dir string, _ Options) (*data.Dataset, error) {
	if err := noFile(dir); err != nil {
		return nil, fmt.Errorf("folder source: %w", err)
	}
	l, err := layout.Find(diskTree(dir), dir, nil)
	if err != nil {
		return nil, fmt.Errorf("folder source: %w", err)
	}
	d := &data.Dataset{Channels: 3, Notes: l.Notes}
	digest := sha256.New()
	var classes classList
	var left data.Tally
	splits := [data.SplitCount]data.Split{data.None{}, data.None{}, data.None{}}
	for split := range splits {
		if !l.Has[split] {
			continue
		}
		f, err := listFolder(filepath.Join(dir, filepath.FromSlash(l.Dirs[split])), &classes)
		if err != nil {
			return nil, err
		}
		f.digest(digest)
		f.tell(d, &left)
		splits[split] = data.FromFiles(f)
	}
	d.SetSplits(splits)
	d.LeftOut = left.List()
	d.Classes = classes.names
	d.NoteOrder()
	d.Digest = hex.EncodeToString(digest.Sum(nil))
	return d, nil
}

// noFile says what a file is that stands in a folder's place.
func noFile(dir string) error {
	info, err := os.Stat(dir)
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	_, head, err := disk.IsImage(dir)
	if err != nil {
		return err
	}
	kind := picture.Identify(head).Name
	for _, ending := range shard.TarEndings {
		if strings.HasSuffix(dir, ending) {
			return fmt.Errorf("%w: %s is an archive: give it as tar:%s", data.ErrLayout, dir, dir)
		}
	}
	if kind == "" {
		kind = "a file"
	}
	return fmt.Errorf("%w: %s is %s, not a folder; unpack an archive, and give the folder", data.ErrLayout, dir, kind)
}

// diskTree is the folders below one, whose links are followed.
type diskTree string

func (t diskTree) Look(dir string) (folders []string, images bool, err error) {
	root := filepath.Join(string(t), filepath.FromSlash(dir))
	entries, err := os.ReadDir(root)
	for _, e := range entries {
		if disk.IsLitter(e.Name()) {
			continue
		}
		path := filepath.Join(root, e.Name())
		is, err := disk.IsFolder(path)
		switch {
		case err != nil:
			return nil, false, err
		case is:
			folders = append(folders, e.Name())
		case !images:
			if images, _, err = disk.IsImage(path); err != nil {
				return nil, false, err
			}
		}
	}
	return folders, images, err
}

// classList is the names of classes. A name with accents is the same however these are coded.
type classList struct {
	names []string
	label map[string]int
}

// set makes names the classes, in order.
func (c *classList) set(names []string) {
	c.names, c.label = nil, map[string]int{}
	for _, name := range names {
		if name = layout.ClassName(name); name == "" {
			continue
		}
		if _, twice := c.label[name]; !twice {
			c.label[name] = len(c.names)
			c.names = append(c.names, name)
		}
	}
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
		return fmt.Errorf("%w: a link to nothing", data.ErrFormat)
	}
	return nil
}

type folder struct {
	files []folderFile
	left  data.Tally
	deep  string // the first image that lies in a folder below its class's
	deeps int
	dir   string
}

// digest adds names and sizes to a digest.
func (f folder) digest(h hash.Hash) {
	for _, file := range f.files {
		fmt.Fprintf(h, "%s\x00%d\x00", filepath.ToSlash(file.name), file.size)
	}
}

func (f folder) Len() int        { return len(f.files) }
func (f folder) Label(i int) int { return f.files[i].label }

// Name is the path of image i.
func (f folder) Name(i int) string { return f.files[i].path }

// Size is how many bytes image i has.
func (f folder) Size(i int) int64 { return f.files[i].size }

// Encoded are the bytes of image i.
func (f folder) Encoded(i int) ([]byte, error) {
	if err := f.files[i].missing(); err != nil {
		return nil, err
	}
	return disk.ReadImage(f.files[i].path)
}

// tell adds what may surprise to a data set, and what was left out to all that was.
func (f *folder) tell(d *data.Dataset, left *data.Tally) {
	left.Add(f.left)
	if f.deeps > 0 {
		d.Note("classes are the folders right in %s; %d of its images lie deeper, as %s", f.dir, f.deeps, f.deep)
	}
}

// listFolder lists the images below dir; the first folder below dir, or a link
// to one, is the class. With no classes yet, it sets them; else all must be
// known. A link to nothing is listed too: it is a damaged image when it is
// asked for, so that nothing is left out unseen. What the system keeps back is an error.
func listFolder(dir string, classes *classList) (folder, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return folder{}, fmt.Errorf("folder source: %w", err)
	}
	f := folder{dir: dir}
	var names []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if disk.IsLitter(e.Name()) {
			f.left.Litter++
			continue
		}
		is, err := disk.IsFolder(path)
		if err != nil {
			return folder{}, fmt.Errorf("folder source: %w", err)
		}
		if is {
			if err := inCircles(e, path); err != nil {
				return folder{}, fmt.Errorf("folder source: %w", err)
			}
			names = append(names, e.Name())
			continue
		}
		if is, _, err = disk.IsImage(path); err != nil {
			return folder{}, fmt.Errorf("folder source: %w", err)
		}
		if is {
			f.left.Loose++ // of no class
		}
	}
	if classes.label == nil {
		classes.set(names)
	}
	for _, name := range names {
		label, known := classes.label[layout.ClassName(name)]
		if !known {
			label = unknownClass
		}
		before := len(f.files)
		if err := f.add(dir, name, label); err != nil {
			return folder{}, fmt.Errorf("folder source: %w", err)
		}
		if !known && len(f.files) > before {
			return folder{}, fmt.Errorf("folder source: %w: %s is a class that train does not have%s", data.ErrFormat, filepath.Join(dir, name), classes.similar(name))
		}
	}
	if len(f.files) == 0 && f.left.Loose > 0 {
		return folder{}, fmt.Errorf("%w of any class in %s: images lie in it (%d), not in a sub-folder for each class", data.ErrEmpty, dir, f.left.Loose)
	}
	if len(f.files) == 0 {
		return folder{}, fmt.Errorf("%w in %s: want a sub-folder of images (%s) for each class%s", data.ErrEmpty, dir, strings.Join(codec.Endings, " "), f.left.Instead())
	}
	return f, nil
}

// similar is a class that differs from a name in capitals only, as the end of an error.
func (c *classList) similar(name string) string {
	for _, known := range c.names {
		if strings.EqualFold(known, layout.ClassName(name)) {
			return fmt.Sprintf(" (it has %s)", known)
		}
	}
	return ""
}

// unknownClass is the label of what is in no class of train.
const unknownClass = -1

// add lists the images below one class's folder. Links to folders below it are
// not followed, as they may lead in circles: each counts as a damaged image.
func (f *folder) add(dir, class string, label int) error {
	root := filepath.Join(dir, class) + string(filepath.Separator) // follows a link
	var splits [data.SplitCount]string                             // folders of the class that look like such
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		if disk.IsLitter(e.Name()) {
			f.left.Litter++
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		deep := strings.Count(name, string(filepath.Separator)) > 1
		if e.IsDir() {
			if split, sure := layout.SplitIn(e.Name()); sure && !deep {
				splits[split] = path
			}
			return nil
		}
		file, err := listed(filepath.Dir(path), e, name)
		if err != nil {
			return err
		}
		if !file.folder && !file.nowhere {
			is, head, err := disk.IsImage(path)
			if err != nil {
				return err
			}
			if !is {
				f.left.File(path, head)
				return nil
			}
		}
		if file.label = label; deep {
			if f.deeps++; f.deeps == 1 {
				f.deep = path
			}
		}
		f.files = append(f.files, file)
		return nil
	})
	if splits[data.TrainSplit] != "" && (splits[data.ValSplit] != "" || splits[data.TestSplit] != "") {
		return fmt.Errorf("%w: %s has the folders of splits in it, as %s: put the classes into the splits, not the splits into the classes", data.ErrLayout, filepath.Join(dir, class), filepath.Base(splits[data.TrainSplit]))
	}
	return err
}

// inCircles is an error of a link to a folder that it lies in itself: as a class it would hold all
// images once more.
func inCircles(e fs.DirEntry, path string) error {
	if e.Type()&fs.ModeSymlink == 0 {
		return nil
	}
	leads, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	lies, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err == nil {
		leads, err = filepath.Abs(leads)
	}
	if err == nil {
		lies, err = filepath.Abs(lies)
	}
	if err != nil {
		return err
	}
	if lies == leads || strings.HasPrefix(lies, strings.TrimSuffix(leads, string(filepath.Separator))+string(filepath.Separator)) {
		return fmt.Errorf("%w: the link %s leads to a folder that it lies in: remove it", data.ErrLayout, path)
	}
	return nil
}

// listed is a file of a folder as it is found. A link to nothing is an image that is damaged:
// it was made so. Any other failure is an error.
func listed(dir string, e fs.DirEntry, name string) (folderFile, error) {
	file := folderFile{path: filepath.Join(dir, e.Name()), name: name}
	info, err := disk.Patiently(func() (fs.FileInfo, error) { return os.Stat(file.path) })
	switch {
	case err == nil:
		file.size, file.folder = info.Size(), info.IsDir()
	case e.Type()&fs.ModeSymlink != 0 && disk.LeadsNowhere(err):
		file.nowhere = true
	default:
		return file, err
	}
	return file, nil
}
