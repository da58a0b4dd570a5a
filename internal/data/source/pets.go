package source

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"prenas/internal/data"
)

// openPets opens Oxford-IIIT Pet (Parkhi et al., 2012): 37 breeds.
//
//	images/Abyssinian_100.jpg
//	annotations/trainval.txt, test.txt   a line: Abyssinian_100 CLASS SPECIES BREED, counted from 1
func openPets(_ context.Context, dir string, _ Options) (*data.Dataset, error) {
	a := newAnnotated(dir)
	names := map[int]string{}
	for _, list := range []struct {
		name  string
		split int
	}{{"trainval.txt", data.TrainSplit}, {"test.txt", data.TestSplit}} {
		err := eachLine(filepath.Join(dir, "annotations", list.name), func(words []string) error {
			if len(words) < 2 {
				return fmt.Errorf("%w: want an image and its class", data.ErrFormat)
			}
			class, err := strconv.Atoi(words[1])
			if err != nil || class < 1 || class > data.MaxClasses {
				return fmt.Errorf("%w: class %q", data.ErrFormat, words[1])
			}
			breed := words[0][:max(strings.LastIndex(words[0], "_"), 0)]
			if was, known := names[class]; known && was != breed {
				return fmt.Errorf("%w: class %d is %s and %s", data.ErrFormat, class, was, breed)
			}
			names[class] = breed
			return a.add(list.split, "images/"+words[0]+".jpg", class-1)
		})
		if err != nil {
			return nil, fmt.Errorf("pets source: %w", err)
		}
	}
	classes := make([]string, len(names))
	for class, name := range names {
		if class > len(classes) {
			return nil, fmt.Errorf("%s: %w: class %d of %d", dir, data.ErrFormat, class, len(classes))
		}
		classes[class-1] = strings.ReplaceAll(name, "_", " ")
	}
	return a.dataset(classes)
}
