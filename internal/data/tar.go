package data

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Tar shards in webdataset's form: files that stand one after the other with the
// same name up to the first dot of the base name are a sample.
//
//	0017.jpg   the image, of any format that a folder takes
//	0017.cls   its label, a number from 0 on; or 0017.json with "label"
//
// Other files of a sample are passed over. A tar without any label is one of
// folders, each a class. What is compressed or comes over http is laid into the
// cache folder, as a plain tar, once.
var tarEndings = []string{".tar", ".tar.gz", ".tgz", ".tar.zst"}

// maxLabelText bounds a file with a label.
const maxLabelText = 1 << 20

// classesMember is a member of a tar with the names of the classes, a line each.
const classesMember = "__classes__.txt"

func openTar(ctx context.Context, pattern string, o Options) (*Dataset, error) {
	packed := func(name string) bool { return strings.HasSuffix(name, "gz") || strings.HasSuffix(name, ".zst") }
	return openAsTars(ctx, pattern, tarEndings, o, packed, unpack)
}

// openAsTars opens shards that are plain tars, or that convert makes one of.
func openAsTars(ctx context.Context, pattern string, endings []string, o Options, other func(name string) bool, convert converter) (*Dataset, error) {
	shards, err := listShards(pattern, endings)
	if err != nil {
		return nil, fmt.Errorf("%s source: %w", strings.TrimPrefix(endings[0], "."), err)
	}
	cache, err := newShardCache(o, other, convert)
	if err != nil {
		return nil, err
	}
	return openMembers(ctx, shards, func(ctx context.Context, s shardFile) (*membersFile, error) {
		local, forget, err := cache.plain(ctx, s)
		if err != nil {
			return nil, err
		}
		list, classes, err := scanTarFile(local)
		if err != nil {
			err = fmt.Errorf("%s: %w", s, err)
			if errors.Is(err, ErrFormat) { // else what was laid into the cache may be sound
				err = errors.Join(err, forget())
			}
			return nil, err
		}
		return &membersFile{shown: s.String(), path: local, members: list, classes: classes}, nil
	})
}

func scanTarFile(path string) (list []member, classes []string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	defer file.Close()
	return scanTar(file)
}

// pictureOf is an image file of a tar, with the number of its sample.
type pictureOf struct {
	member
	sample int
	alone  bool // it has no part in its name between the sample's and the ending
}

// scanTar lists the images of a plain tar, in its order, with the names of the
// classes if it has them, and checks that it is whole.
func scanTar(file io.ReadSeeker) (list []member, classes []string, err error) {
	var pictures []pictureOf
	var keys []string // of the samples
	labels := map[int]int{}
	for r := tar.NewReader(file); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if ofSystem(err) {
			return nil, nil, withoutPath(err)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		name := path.Clean(h.Name)
		base := path.Base(name)
		stem, ending, _ := strings.Cut(base, ".")
		isImage := slices.Contains(imageEndings, strings.ToLower(path.Ext(base)))
		switch {
		case name == classesMember:
			if classes, err = linesOf(io.LimitReader(r, maxLabelText)); err != nil {
				return nil, nil, fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
			}
			continue
		case strings.HasPrefix(base, "__"), h.FileInfo().IsDir(): // __: webdataset's notes on the shard itself
			continue
		case h.Typeflag != tar.TypeReg || isSparse(h):
			if isImage {
				return nil, nil, fmt.Errorf("%w: %s is not an ordinary file", ErrFormat, name)
			}
			continue
		}
		if key := path.Join(path.Dir(name), stem); len(keys) == 0 || key != keys[len(keys)-1] {
			keys = append(keys, key)
		}
		sample := len(keys) - 1
		switch _, marked := labels[sample]; {
		case isImage:
			at, err := file.Seek(0, io.SeekCurrent) // tar reads whole headers and no further
			if err != nil {
				return nil, nil, err
			}
			top, _, _ := strings.Cut(name, "/")
			if top == base {
				top = ""
			}
			pictures = append(pictures, pictureOf{member{name: name, offset: at, size: h.Size, label: noLabelYet, folder: top}, sample, path.Ext(base) == "."+ending})
		case ending == "cls", ending == "json" && !marked:
			label, found, err := readLabel(r, ending)
			if err != nil {
				return nil, nil, fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
			}
			if found {
				labels[sample] = label
			}
		}
	}
	if err := checkTarEnd(file); err != nil {
		return nil, nil, err
	}
	list, err = matchLabels(pictures, labels, keys)
	return list, classes, err
}

// matchLabels gives each sample's label to its image.
func matchLabels(pictures []pictureOf, labels map[int]int, keys []string) ([]member, error) {
	var list []member
	last, seen := -1, 0 // seen: samples with an image
	for _, p := range pictures {
		label, marked := labels[p.sample]
		switch {
		case len(labels) == 0: // of folders
		case !p.alone:
			continue
		case !marked:
			return nil, fmt.Errorf("%w: %s has no label beside it, as %s.cls", ErrFormat, p.name, keys[p.sample])
		case p.sample == last:
			return nil, fmt.Errorf("%w: %s is a second image of its sample", ErrFormat, p.name)
		default:
			p.label, p.folder, last, seen = label, "", p.sample, seen+1
		}
		list = append(list, p.member)
	}
	if seen != len(labels) {
		return nil, fmt.Errorf("%w: %d samples have a label but no image (%s)", ErrFormat, len(labels)-seen, strings.Join(imageEndings, " "))
	}
	return list, nil
}

func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// readLabel reads the label of a sample, which a .json need not have.
func readLabel(r io.Reader, ending string) (label int, found bool, err error) {
	text, err := io.ReadAll(io.LimitReader(r, maxLabelText+1))
	switch {
	case err != nil:
		return 0, false, err
	case len(text) > maxLabelText:
		return 0, false, fmt.Errorf("it has more than %d bytes", maxLabelText)
	case ending == "cls":
		if label, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			err = fmt.Errorf("%.20q is no label: want a number from 0 to %d", text, maxClasses-1)
		}
		found = true
	default:
		var all struct{ Label *int }
		if err = json.Unmarshal(text, &all); err == nil && all.Label != nil {
			label, found = *all.Label, true
		}
	}
	if err == nil && (label < 0 || label >= maxClasses) {
		err = fmt.Errorf("label %d is not from 0 to %d", label, maxClasses-1)
	}
	return label, found, err
}

// checkTarEnd looks for the zeros that end a tar: one that was cut between two
// files would otherwise pass for a shorter one.
func checkTarEnd(file io.ReadSeeker) error {
	const block = 512
	last := make([]byte, block)
	if _, err := file.Seek(-block, io.SeekEnd); err != nil {
		return fmt.Errorf("%w: it is shorter than a tar can be", ErrFormat)
	}
	if _, err := io.ReadFull(file, last); err != nil {
		return err
	}
	if !bytes.Equal(last, make([]byte, block)) {
		return fmt.Errorf("%w: the tar does not end as one does: it was cut off", ErrFormat)
	}
	return nil
}
