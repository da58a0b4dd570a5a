package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"prenas/internal/data"
	"prenas/internal/data/disk"
	"prenas/internal/data/layout"
)

// openImageNet opens ImageNet (ILSVRC 2012), or a part of it, as it is shipped or as
// others lay it out:
//
//	train/n01440764/n01440764_10026.JPEG     a folder each class, by WordNet id
//	val/n01440764/ILSVRC2012_val_00000293.JPEG
//	val/ILSVRC2012_val_00000293.JPEG         or all in one folder, with labels as below
//
// The two may stand in ILSVRC/Data/CLS-LOC below the folder. A class index, see
// readClassIndex, gives the classes their numbers and names; without one they are numbered
// in the order of their ids, which for the 1000 classes is the same. What is reported on
// is val: the test images have no public labels. Either of train and val is enough.
func openImageNet(_ context.Context, dir string, o Options) (*data.Dataset, error) {
	index, err := readClassIndex(dir)
	if err != nil {
		return nil, fmt.Errorf("imagenet source: %w", err)
	}
	root := dir
	nested := filepath.Join(dir, "ILSVRC", "Data", "CLS-LOC")
	if is, err := disk.IsFolder(nested); err != nil {
		return nil, fmt.Errorf("imagenet source: %w", err)
	} else if is {
		root = nested
	}
	var ids classList
	if len(index) > 0 {
		ids.set(index.ids())
	}
	var left data.Tally
	digest := sha256.New()
	d := &data.Dataset{Channels: 3, Train: data.None{}, Test: data.None{}}
	in, val := filepath.Join(root, "train"), filepath.Join(root, "val")
	isIn, err := disk.IsFolder(in)
	if err != nil {
		return nil, fmt.Errorf("imagenet source: %w", err)
	}
	isVal, err := disk.IsFolder(val)
	if err != nil {
		return nil, fmt.Errorf("imagenet source: %w", err)
	}
	if isIn || !isVal {
		train, err := listFolder(in, &ids)
		if err != nil {
			return nil, err
		}
		train.digest(digest)
		train.tell(d, &left)
		d.Train = data.FromFiles(train)
	} else {
		o.log("data: there is no %s: there are no training images", in)
	}
	if isVal {
		test, err := listVal(dir, val, &ids)
		if err != nil {
			return nil, err
		}
		test.digest(digest)
		test.tell(d, &left)
		d.Test = data.FromFiles(test)
	} else {
		o.log("data: there is no %s: there are no test images", val)
	}
	d.LeftOut = left.List()
	fmt.Fprintf(digest, "%q", ids.names) // the labels follow from them
	d.Digest, d.Classes = hex.EncodeToString(digest.Sum(nil)), index.names(ids.names)
	return d, nil
}

// listVal lists the validation images, from a folder each class or from one.
func listVal(dir, val string, ids *classList) (folder, error) {
	entries, err := os.ReadDir(val)
	if err != nil {
		return folder{}, err
	}
	f := folder{dir: val}
	var names []string
	for _, e := range entries {
		if disk.IsLitter(e.Name()) {
			f.left.Litter++
			continue
		}
		path := filepath.Join(val, e.Name())
		is, err := disk.IsFolder(path)
		if err != nil {
			return folder{}, err
		}
		if is {
			return listFolder(val, ids)
		}
		is, head, err := disk.IsImage(path)
		if err != nil {
			return folder{}, err
		}
		if !is {
			f.left.File(path, head)
			continue
		}
		file, err := listed(val, e, e.Name())
		if err != nil {
			return folder{}, err
		}
		names, f.files = append(names, e.Name()), append(f.files, file)
	}
	labels, from, err := readValLabels(dir, names)
	if err != nil {
		return folder{}, err
	}
	if ids.label == nil {
		ids.set(slices.Sorted(slices.Values(labels)))
	}
	for i, name := range names {
		label, known := ids.label[layout.ClassName(labels[i])]
		if !known {
			return folder{}, fmt.Errorf("%s: %w: image %s has the class %q, which is none of the others", from, data.ErrFormat, name, labels[i])
		}
		f.files[i].label = label
	}
	return f, nil
}
