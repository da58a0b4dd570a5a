package shard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"prenas/internal/ahead"
	"prenas/internal/data"
	"prenas/internal/data/codec"
	"prenas/internal/data/disk"
	"prenas/internal/data/layout"
	"prenas/internal/fsys"
	"prenas/internal/printable"
)

// noLabelYet is the label of a member that has its class by name.
const noLabelYet = -1

// containerImage is an image that lies as it is inside a larger file.
type containerImage struct {
	name         string
	offset, size int64
	label        int
	class        string // the name of its class, where it has no number
	labelled     bool   // by a file beside it; else it has its class from its folder
	split        int
}

// containerFile is such a file.
type containerFile struct {
	shown, path string // where it came from, and where its bytes are
	members     []containerImage
	classes     []string // names of all classes, where it has them
	left        data.Tally
}

// containerImages are the images of several files, in order.
type containerImages struct {
	files []*containerFile
	ends  []int // images up to the end of each file
}

func (m *containerImages) add(file *containerFile) {
	m.files, m.ends = append(m.files, file), append(m.ends, m.Len()+len(file.members))
}

func (m *containerImages) at(i int) (*containerFile, *containerImage) {
	k, _ := slices.BinarySearch(m.ends, i+1)
	file := m.files[k]
	return file, &file.members[i-m.ends[k]+len(file.members)]
}

func (m *containerImages) Len() int {
	if len(m.ends) == 0 {
		return 0
	}
	return m.ends[len(m.ends)-1]
}

func (m *containerImages) Label(i int) int {
	_, one := m.at(i)
	return one.label
}

func (m *containerImages) Name(i int) string {
	file, one := m.at(i)
	return file.shown + ", " + one.name
}

func (m *containerImages) Size(i int) int64 {
	_, one := m.at(i)
	return one.size
}

func (m *containerImages) Encoded(i int) ([]byte, error) {
	file, one := m.at(i)
	if one.size > codec.MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes are more than %d", data.ErrFormat, one.size, codec.MaxBytes)
	}
	return disk.Patiently(func() ([]byte, error) {
		from, err := fsys.OpenRegular(file.path)
		if err != nil {
			return nil, err
		}
		defer from.Close()
		text := make([]byte, one.size)
		if _, err := from.ReadAt(text, one.offset); err == io.EOF {
			return nil, fmt.Errorf("%s became shorter after it was opened", file.path)
		} else if err != nil {
			return nil, err
		}
		return text, nil
	})
}

// openMembers opens a data set of shards, reading what each of them holds with scan.
func openMembers(ctx context.Context, shards []shardFile, scan func(context.Context, shardFile) (*containerFile, error)) (*data.Dataset, error) {
	type scanned struct {
		file *containerFile
		err  error
	}
	var files []*containerFile
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, s := range ahead.Range(ctx, len(shards), 0, func(k int) scanned {
		file, err := scan(ctx, shards[k])
		return scanned{file, err}
	}) {
		if s.err != nil {
			return nil, s.err
		}
		files = append(files, s.file)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d := &data.Dataset{Channels: 3}
	if err := arrange(d, shards, files); err != nil {
		return nil, err
	}
	var left data.Tally
	digest := sha256.New()
	for _, file := range files {
		for _, one := range file.members {
			label := strconv.Itoa(one.label)
			if one.labelled && one.class != "" {
				label = one.class
			}
			fmt.Fprintf(digest, "%d\x00%s\x00%d\x00%s\x00", one.split, one.name, one.size, label)
		}
		left.Add(file.left)
	}
	d.LeftOut = left.List()
	d.Digest = hex.EncodeToString(digest.Sum(nil))
	splits := bySplit(files)
	var err error
	if d.Classes, err = nameClasses(shards, splits[:]); err != nil {
		return nil, err
	}
	d.NoteOrder()
	d.SetSplits([data.SplitCount]data.Split{data.FromFiles(splits[0]), data.FromFiles(splits[1]), data.FromFiles(splits[2])})
	return d, nil
}

// bySplit are the members of each split, in order.
func bySplit(files []*containerFile) (splits [data.SplitCount]*containerImages) {
	for split := range splits {
		splits[split] = new(containerImages)
		for _, file := range files {
			part := *file
			part.members = slices.DeleteFunc(slices.Clone(file.members), func(one containerImage) bool { return one.split != split })
			splits[split].add(&part)
		}
	}
	return splits
}

// nameClasses returns the names of the classes, and gives labels to members that have a
// name instead. Names are those of the folders, in order, or of the labels; of labels that are
// numbers the lines of a file classes.txt beside the shards, or those in the shards, else the
// numbers.
func nameClasses(shards []shardFile, splits []*containerImages) ([]string, error) {
	byName, folders, most, without := map[string]int{}, false, -1, ""
	for one, where := range each(splits) {
		if one.label != noLabelYet {
			most = max(most, one.label)
			continue
		}
		byName[one.class] = 0
		folders = folders || !one.labelled
		if one.class == "" || without == "" {
			without = where
		}
	}
	if _, homeless := byName[""]; homeless || folders && most >= 0 {
		return nil, fmt.Errorf("%s: %w: it has no label, neither a .cls or .json of the same name beside it nor, all through the shards, a folder for each class", without, data.ErrFormat)
	}
	if len(byName) > 0 && most >= 0 {
		return nil, fmt.Errorf("%s: %w: its label is a name, and others are numbers", without, data.ErrFormat)
	}
	if len(byName) == 0 {
		return numberedClasses(shards[0], splits, most)
	}
	names := slices.Sorted(maps.Keys(byName))
	if !folders {
		listed, where, err := classesFile(shards[0])
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if listed != nil && !slices.Contains(listed, name) {
				return nil, fmt.Errorf("%s: %w: it does not have the class %q", where, data.ErrFormat, name)
			}
		}
		if listed != nil {
			names = listed
		}
	}
	for k, name := range names {
		byName[name] = k
	}
	for one := range each(splits) {
		one.label = byName[one.class]
	}
	return names, nil
}

// classesFile reads the names of the classes beside a shard: from classes.txt in its folder,
// or in one above it up to that in which shards were looked for; nil if there is none.
func classesFile(first shardFile) (names []string, where string, err error) {
	if first.url != nil {
		return nil, "", nil
	}
	for dir := filepath.Dir(first.at); ; dir = filepath.Dir(dir) {
		where = filepath.Join(dir, "classes.txt")
		if names, err = disk.Lines(where); err == nil || !os.IsNotExist(err) {
			for i := range names {
				names[i] = layout.ClassName(names[i])
			}
			return names, where, err
		}
		if dir == first.root || len(dir) <= len(first.root) {
			return nil, "", nil
		}
	}
}

// numberedClasses are the names of the classes 0 to most.
func numberedClasses(first shardFile, splits []*containerImages, most int) ([]string, error) {
	names, where, err := classesFile(first)
	if err != nil {
		return nil, err
	}
	for _, split := range splits {
		for _, file := range split.files {
			switch {
			case names == nil:
				names, where = file.classes, file.shown
			case file.classes != nil && !slices.Equal(file.classes, names):
				return nil, fmt.Errorf("%s: %w: its classes have other names than those of %s", file.shown, data.ErrFormat, where)
			}
		}
	}
	if names != nil && len(names) <= most {
		return nil, fmt.Errorf("%s: %w: it names %s, but there is a label %d", where, data.ErrFormat, printable.Count(len(names), "class"), most)
	}
	for i := len(names); i <= most; i++ {
		names = append(names, strconv.Itoa(i))
	}
	return names, nil
}

// each yields all members of splits, and says where each is.
func each(splits []*containerImages) iter.Seq2[*containerImage, string] {
	return func(yield func(*containerImage, string) bool) {
		for _, split := range splits {
			for _, file := range split.files {
				for i := range file.members {
					if one := &file.members[i]; !yield(one, file.shown+", "+one.name) {
						return
					}
				}
			}
		}
	}
}
