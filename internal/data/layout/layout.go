package layout

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"prenas/internal/data"
)

// Tree is folders of images, on disk or in archives. Paths are slashed and relative; the root
// is the empty one.
type Tree interface {
	// Look lists the folders right in a folder, in order of their names, and says whether images
	// lie right in it. It leaves litter out.
	Look(dir string) (folders []string, images bool, err error)
}

// Layout is where the splits of a tree are: the folder of each that holds one folder for each class.
type Layout struct {
	Dirs  [data.SplitCount]string
	Has   [data.SplitCount]bool
	Notes []string // what a user should know of how it was understood
}

// maxNested bounds how many folders may stand around the splits or the classes.
const maxNested = 8

// candidate is a folder whose name may say that it is a split.
type candidate struct {
	name  string
	split int
	sure  bool
	flat  bool // it holds images and no folders
}

// Find finds the splits of a tree: folders whose names say so and that hold folders,
// those of classes. Without any, the whole is train. It goes down into a folder that stands alone
// around them. What looks like a split and cannot be one is an error or a note, never a class that
// nobody asked for. known are the classes, if they are known already.
func Find(t Tree, root string, known []string) (l Layout, err error) {
	at, folders, err := l.descend(t, "", known)
	if err != nil {
		return l, err
	}
	show := func(names ...string) string {
		for i := range names {
			names[i] = path.Join(root, at, names[i])
		}
		return strings.Join(names, ", ")
	}
	splits, classes, err := candidates(t, at, folders)
	if err != nil {
		return l, err
	}
	flat := slices.DeleteFunc(slices.Clone(splits), func(c candidate) bool { return !c.flat })
	holding := slices.DeleteFunc(slices.Clone(splits), func(c candidate) bool { return c.flat })
	switch {
	case len(splits) == 0, len(holding) == 0 && len(classes) > 0 && kinds(flat) == 1:
		for _, c := range flat { // a class among classes, as trains are among vehicles
			l.note("%s holds images and no folders: it is a class, not the %s split", show(c.name), data.SplitNames[c.split])
		}
		l.Dirs[data.TrainSplit], l.Has[data.TrainSplit] = at, true
		return l, l.noteAlike(t, at, classes, show)
	case len(classes) > 0 && !slices.ContainsFunc(holding, func(c candidate) bool { return c.split == data.TrainSplit }):
		return l, fmt.Errorf("%w: %s looks like the %s split, and %s beside it like classes: put what is to be trained on into %s",
			data.ErrLayout, show(splits[0].name), data.SplitNames[splits[0].split], show(classes[:min(3, len(classes))]...), show("train"))
	}
	if len(classes) > 0 {
		l.note("not read, beside the splits: %s", show(classes...))
	}
	for _, c := range flat {
		trains := slices.ContainsFunc(holding, func(o candidate) bool { return o.split == data.TrainSplit })
		if len(flat) == len(splits) || c.split == data.TrainSplit && !trains { // the error is that they hold no classes
			holding = append(holding, c)
		} else {
			l.note("%s holds images without classes: the %s split is not read", show(c.name), data.SplitNames[c.split])
		}
	}
	for _, c := range holding {
		if l.Has[c.split] {
			return l, fmt.Errorf("%w: both %s and %s look like the %s split: rename one, or put its classes into the other",
				data.ErrLayout, path.Join(root, l.Dirs[c.split]), show(c.name), data.SplitNames[c.split])
		}
		l.Dirs[c.split], l.Has[c.split] = path.Join(at, c.name), true
	}
	for split := range data.SplitCount {
		if l.Has[split] {
			if l.Dirs[split], err = l.descendSplit(t, l.Dirs[split], known); err != nil {
				return l, err
			}
		}
	}
	return l, nil
}

// noteAlike says if all classes hold no images but folders of the same names, two or more: they may
// be splits by names that are not known.
func (l *Layout) noteAlike(t Tree, at string, classes []string, show func(...string) string) error {
	if len(classes) < 2 || len(classes) > data.SplitCount {
		return nil
	}
	var first []string
	for i, class := range classes {
		inner, images, err := t.Look(path.Join(at, class))
		if err != nil || images || len(inner) < 2 || i > 0 && !slices.Equal(inner, first) {
			return err
		}
		first = inner
	}
	l.note("%s are taken as classes, and all hold the folders %s: if those are the classes, rename the outer ones to train, val and test",
		show(classes...), strings.Join(first[:min(3, len(first))], ", "))
	return nil
}

func (l *Layout) note(format string, args ...any) {
	l.Notes = append(l.Notes, fmt.Sprintf(format, args...))
}

// descend goes down while a folder holds nothing but one folder that holds folders, and is
// neither a split nor a class.
func (l *Layout) descend(t Tree, at string, known []string) (where string, folders []string, err error) {
	folders, images, err := t.Look(at)
	for range maxNested {
		if err != nil || images || len(folders) != 1 || slices.Contains(known, ClassName(folders[0])) {
			return at, folders, err
		}
		if split, _ := SplitIn(folders[0]); split != data.NoSplit {
			return at, folders, nil
		}
		inner, innerImages, err := t.Look(path.Join(at, folders[0]))
		if err != nil || innerImages || len(inner) == 0 {
			return at, folders, err
		}
		at, folders, images = path.Join(at, folders[0]), inner, innerImages
		l.note("classes and splits are looked for in %s, the only folder", at)
	}
	return at, folders, nil
}

// descendSplit goes down from a split's folder while it holds nothing but one folder of the same
// name or split that holds folders.
func (l *Layout) descendSplit(t Tree, at string, known []string) (string, error) {
	for range maxNested {
		folders, images, err := t.Look(at)
		if err != nil || images || len(folders) != 1 || slices.Contains(known, ClassName(folders[0])) {
			return at, err
		}
		split, _ := SplitIn(folders[0])
		if split == data.NoSplit && !strings.EqualFold(folders[0], path.Base(at)) {
			return at, nil
		}
		inner, _, err := t.Look(path.Join(at, folders[0]))
		if err != nil || len(inner) == 0 {
			return at, err
		}
		at = path.Join(at, folders[0])
	}
	return at, nil
}

// candidates divides folders into those whose names say that they are splits and others. A name
// with other words in it, as seg_train, is one only beside the name of another split.
func candidates(t Tree, at string, folders []string) (splits []candidate, others []string, err error) {
	for _, name := range folders {
		split, sure := SplitIn(name)
		if split == data.NoSplit {
			others = append(others, name)
			continue
		}
		inner, images, err := t.Look(path.Join(at, name))
		if err != nil {
			return nil, nil, err
		}
		splits = append(splits, candidate{name, split, sure, images && len(inner) == 0})
	}
	holding := slices.DeleteFunc(slices.Clone(splits), func(c candidate) bool { return c.flat })
	splits = slices.DeleteFunc(splits, func(c candidate) bool {
		surer := slices.ContainsFunc(holding, func(o candidate) bool { return o.split == c.split && o.sure })
		drop := !c.sure && (surer || kinds(holding) < 2 || c.flat)
		if drop {
			others = append(others, c.name)
		}
		return drop
	})
	slices.Sort(others)
	return splits, others, nil
}

// kinds counts the splits that candidates are for.
func kinds(list []candidate) int {
	var is [data.SplitCount]bool
	n := 0
	for _, c := range list {
		if !is[c.split] {
			is[c.split] = true
			n++
		}
	}
	return n
}

// SplitOf is that in which a slashed path is, and the rest of the path below its folder.
func (l Layout) SplitOf(name string) (split int, rest string) {
	split, longest := data.NoSplit, -1
	for k := range data.SplitCount {
		below, inside := name, l.Dirs[k] == ""
		if !inside {
			below, inside = strings.CutPrefix(name, l.Dirs[k]+"/")
		}
		if l.Has[k] && inside && len(l.Dirs[k]) > longest {
			split, rest, longest = k, below, len(l.Dirs[k])
		}
	}
	return split, rest
}

// ClassName is a name in the form in which names are compared: NFC of Unicode.
func ClassName(name string) string { return norm.NFC.String(name) }
