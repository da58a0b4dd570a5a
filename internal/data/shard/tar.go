package shard

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"prenas/internal/data"
	"prenas/internal/data/codec"
	"prenas/internal/data/disk"
	"prenas/internal/data/fetch"
	"prenas/internal/data/layout"
	"prenas/internal/fsys"
	"prenas/internal/picture"
	"prenas/internal/plaintext"
)

// Tar shards in webdataset's form: files that stand one after the other with the
// same name up to the first dot of the base name are a sample.
//
//	0017.jpg   the image, of any format that a folder takes
//	0017.cls   its label, a number from 0 on or a class's name; or 0017.json with "label"
//
// Other files of a sample are passed over. A tar without any label is one of
// folders, each a class, or of folders of splits with such in them. What is compressed or comes over http is laid into the
// cache folder, as a plain tar, once.
var TarEndings = []string{".tar", ".tar.gz", ".tgz", ".tar.zst"}

// maxLabelText bounds a file with a label.
const maxLabelText = 1 << 20

// classesMember is a member of a tar with the names of the classes, a line each.
const classesMember = "__classes__.txt"

// OpenTar opens tar shards.
func OpenTar(ctx context.Context, pattern string, w fetch.Watch) (*data.Dataset, error) {
	packed := func(name string) bool { return strings.HasSuffix(name, "gz") || strings.HasSuffix(name, ".zst") }
	return openAsTars(ctx, pattern, TarEndings, w, packed, fetch.Unpack)
}

// openAsTars opens shards that are plain tars, or that convert makes one of.
func openAsTars(ctx context.Context, pattern string, endings []string, w fetch.Watch, other func(name string) bool, convert fetch.Converter) (*data.Dataset, error) {
	shards, err := listShards(pattern, endings)
	if err != nil {
		return nil, fmt.Errorf("%s source: %w", strings.TrimPrefix(endings[0], "."), err)
	}
	cache, err := fetch.NewCache(w, other, convert)
	if err != nil {
		return nil, err
	}
	return openMembers(ctx, shards, func(ctx context.Context, s shardFile) (*containerFile, error) {
		local, forget, err := cache.Plain(ctx, s.at, s.url)
		if err != nil {
			return nil, err
		}
		file, err := scanTarFile(local)
		if err != nil {
			err = fmt.Errorf("%s: %w", s, err)
			if errors.Is(err, data.ErrFormat) { // else what was laid into the cache may be sound
				err = errors.Join(err, forget())
			}
			return nil, err
		}
		file.shown, file.path = s.String(), local
		return file, nil
	})
}

func scanTarFile(path string) (*containerFile, error) {
	file, err := fsys.OpenRegular(path)
	if err != nil {
		return nil, disk.WithoutPath(err)
	}
	defer file.Close()
	scanned, err := scanTar(file)
	if errors.Is(err, data.ErrFormat) {
		head := make([]byte, picture.HeadLen)
		n, _ := file.ReadAt(head, 0)
		if kind := picture.Identify(head[:n]).Name; kind != "" {
			err = fmt.Errorf("%w: it is %s, no tar", data.ErrFormat, kind)
		}
	}
	return scanned, err
}

// pictureOf is an image file of a tar, with the number of its sample.
type pictureOf struct {
	containerImage
	sample  int
	alone   bool // it has no part in its name between the sample's and the ending
	sniffed bool // its content says that it is an image, not its name
}

// sampleLabel is what a sample's label says: a number, or a name where there is one.
type sampleLabel struct {
	number int
	name   string
}

// scanTar lists the images of a plain tar, in its order, with the names of the
// classes if it has them, and checks that it is whole.
func scanTar(file io.ReadSeeker) (*containerFile, error) {
	scanned := &containerFile{}
	var pictures []pictureOf
	var keys []string // of the samples
	labels := map[int]sampleLabel{}
	for r := tar.NewReader(file); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if fsys.OfSystem(err) {
			return nil, disk.WithoutPath(err)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", data.ErrFormat, err)
		}
		name := path.Clean(h.Name)
		base := path.Base(name)
		stem, ending, _ := strings.Cut(base, ".")
		isImage := codec.Named(base)
		switch {
		case name == classesMember:
			if scanned.classes, err = disk.LinesOf(io.LimitReader(r, maxLabelText)); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", data.ErrFormat, name, err)
			}
			continue
		case disk.LitterIn(name) != "":
			scanned.left.Litter++
			continue
		case strings.HasPrefix(base, "__"), h.FileInfo().IsDir(): // __: webdataset's notes on the shard itself
			continue
		case h.Typeflag != tar.TypeReg || isSparse(h):
			if isImage {
				return nil, fmt.Errorf("%w: %s is not an ordinary file", data.ErrFormat, name)
			}
			continue
		}
		if key := path.Join(path.Dir(name), stem); len(keys) == 0 || key != keys[len(keys)-1] {
			keys = append(keys, key)
		}
		sample := len(keys) - 1
		at, err := file.Seek(0, io.SeekCurrent) // tar reads whole headers and no further
		if err != nil {
			return nil, err
		}
		_, marked := labels[sample]
		isLabel := ending == "cls" || ending == "json"
		var head []byte
		if !isImage && !isLabel {
			head = make([]byte, min(h.Size, picture.HeadLen))
			if _, err := io.ReadFull(r, head); fsys.OfSystem(err) {
				return nil, disk.WithoutPath(err)
			} else if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", data.ErrFormat, name, err)
			}
		}
		switch {
		case isImage, !isLabel && codec.Sniffed(base, head):
			alone := !strings.Contains(ending, ".") || !isImage && !strings.Contains(strings.TrimSuffix(ending, path.Ext(ending)), ".")
			pictures = append(pictures, pictureOf{containerImage{name: name, offset: at, size: h.Size, label: noLabelYet}, sample, alone, !isImage})
		case ending == "cls", ending == "json" && !marked:
			label, found, err := readLabel(r, ending)
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", data.ErrFormat, name, err)
			}
			if found {
				labels[sample] = label
			}
		case !isLabel:
			scanned.left.File(base, head)
		}
	}
	if err := checkTarEnd(file); err != nil {
		return nil, err
	}
	return scanned, scanned.match(pictures, labels, keys)
}

// match gives each sample's label to its image.
func (m *containerFile) match(pictures []pictureOf, labels map[int]sampleLabel, keys []string) error {
	named := map[int]bool{} // samples with an image that is one by its name
	for _, p := range pictures {
		if p.alone && !p.sniffed {
			named[p.sample] = true
		}
	}
	last, seen := -1, 0 // seen: samples with an image
	for _, p := range pictures {
		label, marked := labels[p.sample]
		switch {
		case len(labels) == 0: // of folders
		case !p.alone, p.sniffed && named[p.sample]:
			continue
		case !marked:
			return fmt.Errorf("%w: %s has no label beside it, as %s.cls", data.ErrFormat, p.name, keys[p.sample])
		case p.sample == last:
			return fmt.Errorf("%w: %s is a second image of its sample", data.ErrFormat, p.name)
		default:
			p.labelled, last, seen = true, p.sample, seen+1
			if p.class = label.name; p.class == "" {
				p.label = label.number
			}
		}
		m.members = append(m.members, p.containerImage)
	}
	if seen != len(labels) {
		return fmt.Errorf("%w: %d samples have a label but no image (%s)", data.ErrFormat, len(labels)-seen, strings.Join(codec.Endings, " "))
	}
	return nil
}

func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// readLabel reads the label of a sample, which a .json need not have. A text that is no number
// is the name of a class.
func readLabel(r io.Reader, ending string) (label sampleLabel, found bool, err error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxLabelText+1))
	if err == nil && len(raw) > maxLabelText {
		err = fmt.Errorf("it has more than %d bytes", maxLabelText)
	}
	if err != nil {
		return label, false, err
	}
	if raw, err = plaintext.UTF8(raw); err != nil {
		return label, false, err
	}
	said := string(raw)
	if ending == "json" {
		var all struct{ Label any }
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&all); err != nil || all.Label == nil {
			return label, false, err
		}
		switch all.Label.(type) {
		case json.Number, string:
			said = fmt.Sprint(all.Label)
		default:
			return label, false, fmt.Errorf("its label is neither a number nor a name")
		}
	}
	label, err = parseLabel(strings.TrimSpace(said))
	return label, err == nil, err
}

// maxName bounds the name of a class, in bytes.
const maxName = 256

func parseLabel(said string) (label sampleLabel, err error) {
	number, err := strconv.ParseFloat(said, 64)
	switch {
	case err == nil && number == math.Trunc(number) && number >= 0 && number < data.MaxClasses:
		return sampleLabel{number: int(number)}, nil
	case err == nil:
		return label, fmt.Errorf("label %s is not a whole number from 0 to %d", said, data.MaxClasses-1)
	case said == "" || len(said) > maxName || !utf8.ValidString(said) || strings.ContainsFunc(said, unicode.IsControl):
		return label, fmt.Errorf("%.20q is no label: want a number from 0 to %d, or the name of a class", said, data.MaxClasses-1)
	}
	return sampleLabel{name: layout.ClassName(said)}, nil
}

// checkTarEnd looks for the zeros that end a tar: one that was cut between two
// files would otherwise pass for a shorter one.
func checkTarEnd(file io.ReadSeeker) error {
	const block = 512
	last := make([]byte, block)
	if _, err := file.Seek(-block, io.SeekEnd); err != nil {
		return fmt.Errorf("%w: it is shorter than a tar can be", data.ErrFormat)
	}
	if _, err := io.ReadFull(file, last); err != nil {
		return err
	}
	if !bytes.Equal(last, make([]byte, block)) {
		return fmt.Errorf("%w: the tar does not end as one does: it was cut off", data.ErrFormat)
	}
	return nil
}
