package shard

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"prenas/internal/data"
	"prenas/internal/data/layout"
	"prenas/internal/printable"
)

// memberTree is the folders in which members of shards lie.
type memberTree map[string]*memberFolder

type memberFolder struct {
	folders []string
	images  bool
}

func (t memberTree) folder(dir string) *memberFolder {
	if t[dir] == nil {
		t[dir] = &memberFolder{}
		if dir != "" {
			parent := t.folder(slashedDir(dir))
			parent.folders = append(parent.folders, path.Base(dir))
		}
	}
	return t[dir]
}

func (t memberTree) Look(dir string) (folders []string, images bool, err error) {
	f := t.folder(dir)
	slices.Sort(f.folders)
	return f.folders, f.images, nil
}

// slashedDir is the folder of a slashed path; empty for the root.
func slashedDir(name string) string {
	if dir := path.Dir(name); dir != "." && dir != "/" {
		return dir
	}
	return ""
}

// arrange gives each member of the shards its split, and those without a label the class of their
// folder. A shard whose name says its split has members of that only; inside others, folders may
// say it.
func arrange(d *data.Dataset, shards []shardFile, files []*containerFile) error {
	unnamed := 0
	for k, file := range files {
		for i := range file.members {
			file.members[i].split = shards[k].split
		}
		if !shards[k].named {
			unnamed++
		}
	}
	if unnamed > 0 && unnamed < len(shards) {
		k := slices.IndexFunc(shards, func(s shardFile) bool { return !s.named })
		d.Note("%d of %s do not say in their names which split they are of, and are taken for %s; the first is %s", unnamed, printable.Count(len(shards), "shard"), data.SplitNames[data.TrainSplit], shards[k])
	}
	if err := splitLabelled(shards, files); err != nil {
		return err
	}
	var known []string
	for split := data.NoSplit; split < data.SplitCount; split++ { // those without a split in their names first
		var group []*containerFile
		root := ""
		for k, file := range files {
			if split == data.NoSplit && !shards[k].named || shards[k].named && shards[k].split == split {
				group = append(group, file)
				root = shards[k].String()
			}
		}
		classes, err := arrangeFolders(d, split, root, group, known)
		if err != nil {
			return err
		}
		known = append(known, classes...)
	}
	return nil
}

// splitLabelled gives members with a label, in shards whose names say no split, that of the folder
// they lie in, if all of them lie in such.
func splitLabelled(shards []shardFile, files []*containerFile) error {
	var in, out *containerImage
	var at string
	for pass := range 2 {
		for k, file := range files {
			for i := range file.members {
				one := &file.members[i]
				if shards[k].named || !one.labelled {
					continue
				}
				split := data.NoSplit
				for folder := range strings.SplitSeq(slashedDir(one.name), "/") {
					if s, sure := layout.SplitIn(folder); sure && split == data.NoSplit {
						split = s
					}
				}
				switch {
				case pass == 1 && in != nil:
					one.split = split
				case split == data.NoSplit:
					out = one
				default:
					in, at = one, shards[k].String()
				}
			}
		}
		if in != nil && out != nil {
			return fmt.Errorf("%s: %w: %s lies in the folder of a split, and %s does not", at, data.ErrLayout, in.name, out.name)
		}
	}
	return nil
}

// arrangeFolders gives the members without a label of some shards their classes, and where these
// are of no split by their names, their splits. It drops images that lie in no class of a split. It
// returns the classes.
func arrangeFolders(d *data.Dataset, named int, root string, group []*containerFile, known []string) (classes []string, err error) {
	t := memberTree{}
	for _, file := range group {
		for _, one := range file.members {
			if !one.labelled {
				t.folder(slashedDir(one.name)).images = true
			}
		}
	}
	if len(t) == 0 {
		return nil, nil
	}
	l, err := layout.Find(t, root, known)
	if err != nil {
		return nil, err
	}
	d.Notes = append(d.Notes, l.Notes...)
	inside := slices.ContainsFunc([]int{data.ValSplit, data.TestSplit}, func(k int) bool { return l.Has[k] }) || l.Dirs[data.TrainSplit] != "" && isSplitFolder(l.Dirs[data.TrainSplit])
	if named != data.NoSplit && inside {
		for k := range data.SplitCount {
			if l.Has[k] && k != named {
				return nil, fmt.Errorf("%w: by its name %s is of the %s split, but the folder %s in it is of the %s split", data.ErrLayout, root, data.SplitNames[named], l.Dirs[k], data.SplitNames[k])
			}
		}
	}
	for _, file := range group {
		kept := file.members[:0]
		for _, one := range file.members {
			if one.labelled {
				kept = append(kept, one)
				continue
			}
			split, below := l.SplitOf(one.name)
			if split == data.NoSplit {
				file.left.Loose++
				continue
			}
			if named == data.NoSplit && inside {
				one.split = split
			}
			one.class = ""
			if class, _, deeper := strings.Cut(below, "/"); deeper {
				one.class = layout.ClassName(class)
			}
			if !slices.Contains(classes, one.class) {
				classes = append(classes, one.class)
			}
			if inside && one.class == "" { // beside the classes of a split
				file.left.Loose++
				continue
			}
			kept = append(kept, one)
		}
		file.members = kept
	}
	return classes, nil
}

func isSplitFolder(dir string) bool {
	split, _ := layout.SplitIn(path.Base(dir))
	return split != data.NoSplit
}
