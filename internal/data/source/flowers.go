package source

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"prenas/internal/data"
	"prenas/internal/matfile"
)

// openFlowers opens Oxford Flowers-102 (Nilsback and Zisserman, 2008), whose classes have
// numbers only.
//
//	jpg/image_00001.jpg
//	imagelabels.mat   labels [1, N]: the class of each image, from 1
//	setid.mat         trnid, valid, tstid: the images of each split, from 1
func openFlowers(_ context.Context, dir string, _ Options) (*data.Dataset, error) {
	labels, err := matIntegers(filepath.Join(dir, "imagelabels.mat"), "labels")
	if err != nil {
		return nil, fmt.Errorf("flowers102 source: %w", err)
	}
	a := newAnnotated(dir)
	for split, name := range []string{data.TrainSplit: "trnid", data.ValSplit: "valid", data.TestSplit: "tstid"} {
		path := filepath.Join(dir, "setid.mat")
		images, err := matIntegers(path, name)
		if err != nil {
			return nil, fmt.Errorf("flowers102 source: %w", err)
		}
		for _, image := range images {
			if image < 1 || image > len(labels) {
				return nil, fmt.Errorf("%s: %w: %s has image %d of %d", path, data.ErrFormat, name, image, len(labels))
			}
			if err := a.add(split, fmt.Sprintf("jpg/image_%05d.jpg", image), labels[image-1]-1); err != nil {
				return nil, err
			}
		}
	}
	var classes []string
	for i := range flowerClasses {
		classes = append(classes, strconv.Itoa(i+1))
	}
	return a.dataset(classes)
}

const flowerClasses = 102

// matIntegers reads a variable of whole numbers.
func matIntegers(path, name string) ([]int, error) {
	variables, err := matfile.Read(path)
	if err != nil {
		return nil, err
	}
	values, err := integers(variables[name])
	if err == nil && len(values) == 0 {
		err = fmt.Errorf("%w: it is empty or not there", data.ErrFormat)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", path, name, err)
	}
	return values, nil
}

func integers(a matfile.Array) ([]int, error) {
	var values []int
	for _, v := range a.Numbers {
		if v != float64(int32(v)) {
			return nil, fmt.Errorf("%w: %v is no whole number", data.ErrFormat, v)
		}
		values = append(values, int(v))
	}
	return values, nil
}
