package data

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Tar shards in webdataset's form: members that share a path up to its first dot
// are a sample, NAME.jpg (or another image) and NAME.cls with the number of its
// class, or NAME.json with a "label". A tar of folders without such members has a
// class for each folder.

var tarEndings = []string{".tar", ".tar.gz", ".tgz", ".tar.zst"}

// maxLabel bounds the small members that say a class.
const maxLabelBytes = 1 << 20

func openTar(ctx context.Context, source string, o Options) (*Dataset, error) {
	train, test, err := listShards(source, tarEndings...)
	if err != nil {
		return nil, fmt.Errorf("tar source: %w", err)
	}
	return openArchives(ctx, source, train, test, o, plainTar)
}

// openArchives opens shards that local turns into plain tars on this machine.
func openArchives(ctx context.Context, source string, train, test []string, o Options, local func(ctx context.Context, shard string, o Options) (string, error)) (*Dataset, error) {
	d := &Dataset{Channels: 3}
	digest := sha256.New()
	splits := [2]*archive{}
	for k, shards := range [][]string{train, test} {
		a := &archive{}
		for _, shard := range shards {
			name, err := local(ctx, shard, o)
			if err == nil {
				err = a.add(name, shard, digest)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", shard, err)
			}
		}
		splits[k] = a
	}
	names, err := classesOf(source, train, splits)
	if err != nil {
		return nil, err
	}
	d.Classes, d.Train, d.Test = names, splits[0], splits[1]
	d.Digest = hex.EncodeToString(digest.Sum(nil))
	return d, nil
}

// classesOf gives every sample its label and returns the names of the classes: those of
// the folders, of a classes.txt beside the shards, or the numbers.
func classesOf(source string, train []string, splits [2]*archive) ([]string, error) {
	var folders []string
	numbered, most := 0, -1
	for _, a := range splits {
		for _, s := range a.samples {
			if s.label >= 0 {
				numbered, most = numbered+1, max(most, s.label)
			} else {
				folders = append(folders, s.folder)
			}
		}
	}
	slices.Sort(folders)
	folders = slices.Compact(folders)
	if numbered > 0 && len(folders) > 0 || slices.Contains(folders, "") {
		return nil, fmt.Errorf("%s: %w: some images have no class: neither a .cls or .json of the same name nor, throughout, a folder each class", source, ErrFormat)
	}
	if numbered == 0 {
		for _, a := range splits {
			for i := range a.samples {
				a.samples[i].label, _ = slices.BinarySearch(folders, a.samples[i].folder)
			}
		}
		return folders, nil
	}
	var names []string
	if len(train) > 0 && !isWeb(train[0]) {
		var err error
		if names, err = readNames(filepath.Join(filepath.Dir(train[0]), "classes.txt")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	if names != nil && most >= len(names) {
		return nil, fmt.Errorf("%s: %w: class %d of the %d in classes.txt", source, ErrFormat, most, len(names))
	}
	for i := len(names); i <= most; i++ {
		names = append(names, strconv.Itoa(i))
	}
	return names, nil
}

// archive is a split of images in plain tar files.
type archive struct {
	files   []*os.File
	names   []string // as the user has them
	samples []sample
}

type sample struct {
	file   int
	name   string // of the member
	offset int64
	size   int64
	label  int // negative: the folder's
	folder string
}

func (a *archive) Len() int        { return len(a.samples) }
func (a *archive) Label(i int) int { return a.samples[i].label }

func (a *archive) Image(i int) (Image, error) {
	s := a.samples[i]
	img, err := a.read(s)
	if err != nil {
		return Image{}, &DamagedImage{a.names[s.file] + ", " + s.name, err}
	}
	return img, nil
}

func (a *archive) read(s sample) (Image, error) {
	if s.size > maxBytes {
		return Image{}, fmt.Errorf("%w: %d bytes are more than %d", ErrFormat, s.size, maxBytes)
	}
	text := make([]byte, s.size)
	if _, err := a.files[s.file].ReadAt(text, s.offset); err != nil {
		return Image{}, err
	}
	return decode(text)
}

// add lists the samples of a plain tar file, by name, which the user knows as
// shown, and adds them to a digest.
func (a *archive) add(file, shown string, digest hash.Hash) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	a.files, a.names = append(a.files, f), append(a.names, shown)
	samples, err := listTar(f)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	for _, s := range samples {
		s.file = len(a.files) - 1
		fmt.Fprintf(digest, "%s\x00%d\x00%d\x00%s\x00", s.name, s.size, s.label, s.folder)
		a.samples = append(a.samples, s)
	}
	return nil
}

// listTar lists the images of a tar with their classes, by name.
func listTar(f io.ReadSeeker) ([]sample, error) {
	images, labels := map[string]sample{}, map[string]int{}
	for r := tar.NewReader(f); ; {
		member, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if member.Typeflag != tar.TypeReg {
			continue
		}
		name := path.Clean(member.Name)
		folder, base := path.Split(name)
		stem, ending, _ := strings.Cut(base, ".")
		switch key := folder + stem; {
		case ending == "cls" || ending == "json":
			label, is, err := readLabel(r, ending)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if is {
				labels[key] = label
			}
		case slices.Contains(imageEndings, strings.ToLower(path.Ext(base))):
			if _, twice := images[key]; twice {
				return nil, fmt.Errorf("%s: a second image of the same sample", name)
			}
			at, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			first, _, _ := strings.Cut(strings.TrimSuffix(folder, "/"), "/")
			images[key] = sample{name: name, offset: at, size: member.Size, label: -1, folder: first}
		}
	}
	var list []sample
	for key, s := range images {
		if label, is := labels[key]; is {
			s.label, s.folder = label, ""
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b sample) int { return cmp.Compare(a.name, b.name) })
	return list, nil
}

// readLabel reads a member that says a class, if it does.
func readLabel(r io.Reader, ending string) (label int, is bool, err error) {
	text, err := io.ReadAll(io.LimitReader(r, maxLabelBytes))
	if err != nil {
		return 0, false, err
	}
	var said struct {
		Label *int `json:"label"`
	}
	if ending == "cls" {
		label, err = strconv.Atoi(strings.TrimSpace(string(text)))
		said.Label = &label
	} else {
		err = json.Unmarshal(text, &said)
	}
	switch {
	case err != nil:
		return 0, false, fmt.Errorf("no class can be read from it: %w", err)
	case said.Label == nil:
		return 0, false, nil
	case *said.Label < 0 || *said.Label >= maxClasses:
		return 0, false, fmt.Errorf("class %d is not within 0 to %d", *said.Label, maxClasses-1)
	}
	return *said.Label, true, nil
}
