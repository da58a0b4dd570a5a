package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"prenas/internal/data"
	"prenas/internal/matfile"
)

// openCars opens Stanford Cars (Krause et al., 2013): 196 makes, models and years.
//
//	cars_train/00001.jpg, cars_test/00001.jpg
//	devkit/cars_meta.mat                class_names: a cell each class
//	devkit/cars_train_annos.mat         annotations: structs with class, from 1, and fname
//	cars_test_annos_withlabels.mat      the same of the test images; here or in devkit
//
// The labels of the test images came out later, in a file of their own; without it there
// is no test split.
func openCars(_ context.Context, dir string, o Options) (*data.Dataset, error) {
	classes, err := carClasses(filepath.Join(dir, "devkit", "cars_meta.mat"))
	if err != nil {
		return nil, fmt.Errorf("cars source: %w", err)
	}
	a := newAnnotated(dir)
	if err := a.addCars(data.TrainSplit, "cars_train", filepath.Join(dir, "devkit", "cars_train_annos.mat")); err != nil {
		return nil, fmt.Errorf("cars source: %w", err)
	}
	const labelled = "cars_test_annos_withlabels.mat"
	err = a.addCars(data.TestSplit, "cars_test", filepath.Join(dir, labelled))
	if errors.Is(err, fs.ErrNotExist) {
		err = a.addCars(data.TestSplit, "cars_test", filepath.Join(dir, "devkit", labelled))
	}
	if errors.Is(err, fs.ErrNotExist) {
		o.log("data: %s has no %s: there are no test images", dir, labelled)
	} else if err != nil {
		return nil, fmt.Errorf("cars source: %w", err)
	}
	return a.dataset(classes)
}

func carClasses(path string) (classes []string, err error) {
	variables, err := matfile.Read(path)
	if err != nil {
		return nil, err
	}
	for _, cell := range variables["class_names"].Cells {
		classes = append(classes, cell.Text)
	}
	if len(classes) == 0 {
		return nil, fmt.Errorf("%s: %w: it has no class_names", path, data.ErrFormat)
	}
	return classes, nil
}

// addCars adds the images that a file of annotations names.
func (a *annotated) addCars(split int, folder, path string) error {
	variables, err := matfile.Read(path)
	if err != nil {
		return err
	}
	fields := variables["annotations"].Fields
	names, classes := fields["fname"], fields["class"]
	if len(names) == 0 || len(names) != len(classes) {
		return fmt.Errorf("%s: %w: its annotations have %d times fname and %d times class", path, data.ErrFormat, len(names), len(classes))
	}
	for i, name := range names {
		class, err := integers(classes[i])
		if err != nil || len(class) != 1 || name.Text == "" {
			return fmt.Errorf("%s: %w: annotation %d has no fname or no class", path, data.ErrFormat, i)
		}
		if err := a.add(split, folder+"/"+name.Text, class[0]-1); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}
