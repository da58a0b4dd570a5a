package data

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// tree is folders of images, on disk or in archives. Paths are slashed and relative; the root
// is the empty one.
type tree interface {
	// look lists the folders right in a folder, in order of their names, and says whether images
	// lie right in it. It leaves litter out.
	look(dir string) (folders []string, images bool, err error)
}

// layout is where the splits of a tree are: the folder of each that holds one folder for each class.
type layout struct {
	dirs  [splitCount]string
	has   [splitCount]bool
	notes []string // what a user should know of how it was understood
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

// findLayout finds the splits of a tree: folders whose names say so and that hold folders,
// those of classes. Without any, the whole is train. It goes down into a folder that stands alone
// around them. What looks like a split and cannot be one is an error or a note, never a class that
// nobody asked for. known are the classes, if they are known already.
func findLayout(t tree, root string, known []string) (l layout, err error) {
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
			l.note("%s holds images and no folders: it is a class, not the %s split", show(c.name), splitNames[c.split])
		}
		l.dirs[trainSplit], l.has[trainSplit] = at, true
		return l, l.noteAlike(t, at, classes, show)
	case len(classes) > 0 && !slices.ContainsFunc(holding, func(c candidate) bool { return c.split == trainSplit }):
		return l, fmt.Errorf("%w: %s looks like the %s split, and %s beside it like classes: put what is to be trained on into %s",
			ErrLayout, show(splits[0].name), splitNames[splits[0].split], show(classes[:min(3, len(classes))]...), show("train"))
	}
	if len(classes) > 0 {
		l.note("not read, beside the splits: %s", show(classes...))
	}
	for _, c := range flat {
		trains := slices.ContainsFunc(holding, func(o candidate) bool { return o.split == trainSplit })
		if len(flat) == len(splits) || c.split == trainSplit && !trains { // the error is that they hold no classes
			holding = append(holding, c)
		} else {
			l.note("%s holds images without classes: the %s split is not read", show(c.name), splitNames[c.split])
		}
	}
	for _, c := range holding {
		if l.has[c.split] {
			return l, fmt.Errorf("%w: both %s and %s look like the %s split: rename one, or put its classes into the other",
				ErrLayout, path.Join(root, l.dirs[c.split]), show(c.name), splitNames[c.split])
		}
		l.dirs[c.split], l.has[c.split] = path.Join(at, c.name), true
	}
	for split := range splitCount {
		if l.has[split] {
			if l.dirs[split], err = l.descendSplit(t, l.dirs[split], known); err != nil {
				return l, err
			}
		}
	}
	return l, nil
}

// noteAlike says if all classes hold no images but folders of the same names, two or more: they may
// be splits by names that are not known.
func (l *layout) noteAlike(t tree, at string, classes []string, show func(...string) string) error {
	if len(classes) < 2 || len(classes) > splitCount {
		return nil
	}
	var first []string
	for i, class := range classes {
		inner, images, err := t.look(path.Join(at, class))
		if err != nil || images || len(inner) < 2 || i > 0 && !slices.Equal(inner, first) {
			return err
		}
		first = inner
	}
	l.note("%s are taken as classes, and all hold the folders %s: if those are the classes, rename the outer ones to train, val and test",
		show(classes...), strings.Join(first[:min(3, len(first))], ", "))
	return nil
}

func (l *layout) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

// descend goes down while a folder holds nothing but one folder that holds folders, and is
// neither a split nor a class.
func (l *layout) descend(t tree, at string, known []string) (where string, folders []string, err error) {
	folders, images, err := t.look(at)
	for range maxNested {
		if err != nil || images || len(folders) != 1 || slices.Contains(known, className(folders[0])) {
			return at, folders, err
		}
		if split, _ := splitIn(folders[0]); split != noSplit {
			return at, folders, nil
		}
		inner, innerImages, err := t.look(path.Join(at, folders[0]))
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
func (l *layout) descendSplit(t tree, at string, known []string) (string, error) {
	for range maxNested {
		folders, images, err := t.look(at)
		if err != nil || images || len(folders) != 1 || slices.Contains(known, className(folders[0])) {
			return at, err
		}
		split, _ := splitIn(folders[0])
		if split == noSplit && !strings.EqualFold(folders[0], path.Base(at)) {
			return at, nil
		}
		inner, _, err := t.look(path.Join(at, folders[0]))
		if err != nil || len(inner) == 0 {
			return at, err
		}
		at = path.Join(at, folders[0])
	}
	return at, nil
}

// candidates divides folders into those whose names say that they are splits and others. A name
// with other words in it, as seg_train, is one only beside the name of another split.
func candidates(t tree, at string, folders []string) (splits []candidate, others []string, err error) {
	for _, name := range folders {
		split, sure := splitIn(name)
		if split == noSplit {
			others = append(others, name)
			continue
		}
		inner, images, err := t.look(path.Join(at, name))
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
	var is [splitCount]bool
	n := 0
	for _, c := range list {
		if !is[c.split] {
			is[c.split] = true
			n++
		}
	}
	return n
}

// split is that in which a slashed path is, and the rest of the path below its folder.
func (l layout) split(name string) (split int, rest string) {
	split, longest := noSplit, -1
	for k := range splitCount {
		below, inside := name, l.dirs[k] == ""
		if !inside {
			below, inside = strings.CutPrefix(name, l.dirs[k]+"/")
		}
		if l.has[k] && inside && len(l.dirs[k]) > longest {
			split, rest, longest = k, below, len(l.dirs[k])
		}
	}
	return split, rest
}

// className is a name in the form in which names are compared: NFC of Unicode.
func className(name string) string { return norm.NFC.String(name) }
