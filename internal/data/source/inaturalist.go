package source

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/data"
	"prenas/internal/fsys"
	"prenas/internal/plaintext"
	"prenas/internal/printable"
)

// inatFile is a file of annotations of iNaturalist's competitions (2017 to 2021), in the
// form of COCO.
type inatFile struct {
	Images []struct {
		ID   int64  `json:"id"`
		Name string `json:"file_name"`
	} `json:"images"`
	Annotations []struct {
		Image    int64 `json:"image_id"`
		Category int64 `json:"category_id"`
	} `json:"annotations"`
	Categories []inatCategory `json:"categories"`
}

type inatCategory struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// openINaturalist opens iNaturalist (Van Horn et al., 2018).
//
//	train.json, val.json   or train2017.json, val2017.json and their like
//	train/...jpg           the files that these name
//
// PATH is the folder, or the file of the training images where there are several, as
// DIR/train_mini.json.
func openINaturalist(_ context.Context, path string, _ Options) (*data.Dataset, error) {
	train := path
	if !strings.HasSuffix(path, ".json") {
		var err error
		if train, err = onlyFile(filepath.Join(path, "train*.json"), "train.json"); err != nil {
			return nil, fmt.Errorf("inaturalist source: %w", err)
		}
	}
	dir, name := filepath.Split(train)
	a := newAnnotated(filepath.Clean(dir))
	first, err := readINat(train)
	if err != nil {
		return nil, fmt.Errorf("inaturalist source: %w", err)
	}
	slices.SortFunc(first.Categories, func(a, b inatCategory) int { return cmp.Compare(a.ID, b.ID) })
	labels, classes := map[int64]int{}, []string{}
	for i, category := range first.Categories {
		labels[category.ID], classes = i, append(classes, category.Name)
	}
	if err := a.addINat(data.TrainSplit, first, labels); err != nil {
		return nil, fmt.Errorf("%s: %w", train, err)
	}
	val := filepath.Join(dir, strings.Replace(strings.Replace(name, "_mini", "", 1), "train", "val", 1))
	second, err := readINat(val)
	if err != nil {
		return nil, fmt.Errorf("inaturalist source: %w", err)
	}
	if err := a.addINat(data.ValSplit, second, labels); err != nil {
		return nil, fmt.Errorf("%s: %w", val, err)
	}
	return a.dataset(classes)
}

// onlyFile is the file of a usual name, else the only one that a pattern matches.
func onlyFile(pattern, usual string) (string, error) {
	first := filepath.Join(filepath.Dir(pattern), usual)
	if _, err := os.Stat(first); err == nil {
		return first, nil
	}
	found, err := filepath.Glob(pattern)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%w: %s are %s: name the one to use", data.ErrEmpty, printable.Count(len(found), "file"), pattern)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

func readINat(path string) (f inatFile, err error) {
	file, err := fsys.OpenRegular(path)
	if err != nil {
		return f, err
	}
	defer file.Close()
	if err := json.NewDecoder(plaintext.Reader(bufio.NewReaderSize(file, 1<<20))).Decode(&f); err != nil {
		return f, fmt.Errorf("%s: %w: %w", path, data.ErrFormat, err)
	}
	return f, nil
}

// addINat adds the images of a file, in its order.
func (a *annotated) addINat(split int, f inatFile, labels map[int64]int) error {
	categories := make(map[int64]int64, len(f.Annotations))
	for _, annotation := range f.Annotations {
		if was, twice := categories[annotation.Image]; twice && was != annotation.Category {
			return fmt.Errorf("%w: image %d is of two categories", data.ErrFormat, annotation.Image)
		}
		categories[annotation.Image] = annotation.Category
	}
	for _, image := range f.Images {
		category, known := categories[image.ID]
		label, named := labels[category]
		if !known || !named {
			return fmt.Errorf("%w: image %d (%s) has no category among those of the training images", data.ErrFormat, image.ID, image.Name)
		}
		if err := a.add(split, image.Name, label); err != nil {
			return err
		}
	}
	return nil
}
