package source

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"prenas/internal/data"
	"prenas/internal/fsys"
	"prenas/internal/matfile"
	"prenas/internal/plaintext"
	"prenas/internal/printable"
	"prenas/internal/strictjson"
)

// classIndex is the classes of ImageNet in the order of their numbers.
type classIndex []struct{ id, name string }

func (c classIndex) ids() (ids []string) {
	for _, class := range c {
		ids = append(ids, class.id)
	}
	return ids
}

// names of classes, each once: two classes of ImageNet are "crane". Ids that are not in the
// index are their own names.
func (c classIndex) names(ids []string) (names []string) {
	known, times := map[string]string{}, map[string]int{}
	for _, class := range c {
		known[class.id] = class.name
		times[class.name]++
	}
	for _, id := range ids {
		switch name := known[id]; {
		case name == "":
			names = append(names, id)
		case times[name] > 1:
			names = append(names, name+" ("+id+")")
		default:
			names = append(names, name)
		}
	}
	return names
}

// readClassIndex reads the class index of a folder, if there is one, in one of the forms
// that go round:
//
//	imagenet_class_index.json                 {"0": ["n01440764", "tench"], ...}
//	LOC_synset_mapping.txt, synset_words.txt  n01440764 tench, Tinca tinca
func readClassIndex(dir string) (classIndex, error) {
	path := filepath.Join(dir, "imagenet_class_index.json")
	text, err := fsys.ReadText(fsys.OS, path)
	if err == nil {
		index, err := parseClassIndex(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return index, nil
	}
	for _, name := range []string{"LOC_synset_mapping.txt", "synset_words.txt"} {
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		var index classIndex
		err = eachLine(filepath.Join(dir, name), func(words []string) error {
			index = append(index, struct{ id, name string }{words[0], strings.Join(words[1:], " ")})
			return nil
		})
		if err == nil {
			return index, nil
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return nil, nil
}

func parseClassIndex(text []byte) (classIndex, error) {
	var classes map[string][2]string
	text, err := plaintext.UTF8(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", data.ErrFormat, err)
	}
	if err := strictjson.Unmarshal(text, &classes); err != nil {
		return nil, fmt.Errorf("%w: %w", data.ErrFormat, err)
	}
	index := make(classIndex, len(classes))
	for i := range index {
		class, ok := classes[strconv.Itoa(i)]
		if !ok || class[0] == "" {
			return nil, fmt.Errorf("%w: %s, but none with the number %d", data.ErrFormat, printable.Count(len(classes), "class"), i)
		}
		index[i].id, index[i].name = class[0], class[1]
	}
	return index, nil
}

// readValLabels finds the WordNet ids of validation images that stand in one folder, and
// says in which file:
//
//	LOC_val_solution.csv                      ILSVRC2012_val_00000293,n01440764 9 0 499 374
//	ILSVRC2012_validation_ground_truth.txt    a class's number for each image, by name; with
//	meta.mat                                  synsets: structs with ILSVRC2012_ID and WNID
//
// The last two may stand in ILSVRC2012_devkit_t12/data, as the development kit has them.
func readValLabels(dir string, names []string) (ids []string, path string, err error) {
	path = filepath.Join(dir, "LOC_val_solution.csv")
	ids, err = readValSolution(path, names)
	if !errors.Is(err, fs.ErrNotExist) {
		return ids, path, err
	}
	const truth = "ILSVRC2012_validation_ground_truth.txt"
	for _, sub := range []string{".", "ILSVRC2012_devkit_t12/data"} {
		path = filepath.Join(dir, sub, truth)
		ids, err = readGroundTruth(path, names)
		if !errors.Is(err, fs.ErrNotExist) {
			return ids, path, err
		}
	}
	return nil, "", fmt.Errorf("%w: the images of val are in one folder, but %s has neither LOC_val_solution.csv nor %s with meta.mat", data.ErrFormat, dir, truth)
}

func readValSolution(path string, names []string) ([]string, error) {
	solution := map[string]string{}
	err := eachLine(path, func(words []string) error {
		name, id, ok := strings.Cut(words[0], ",")
		if !ok {
			return fmt.Errorf("%w: want IMAGE,CLASS and a box", data.ErrFormat)
		}
		solution[name] = id
		return nil
	})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, name := range names {
		id, ok := solution[strings.TrimSuffix(name, filepath.Ext(name))]
		if !ok {
			return nil, fmt.Errorf("%s: %w: it does not have image %s", path, data.ErrFormat, name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func readGroundTruth(path string, names []string) ([]string, error) {
	var numbers []int
	err := eachLine(path, func(words []string) error {
		number, err := strconv.Atoi(words[0])
		if err != nil {
			return fmt.Errorf("%w: %q is no number of a class", data.ErrFormat, words[0])
		}
		numbers = append(numbers, number)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(numbers) != len(names) {
		return nil, fmt.Errorf("%s: %w: it has the classes of %s, but val has %d", path, data.ErrFormat, printable.Count(len(numbers), "image"), len(names))
	}
	meta := filepath.Join(filepath.Dir(path), "meta.mat")
	variables, err := matfile.Read(meta)
	if err != nil {
		return nil, err
	}
	fields, byNumber := variables["synsets"].Fields, map[int]string{}
	if len(fields["WNID"]) != len(fields["ILSVRC2012_ID"]) {
		return nil, fmt.Errorf("%s: %w: its synsets contradict themselves", meta, data.ErrFormat)
	}
	for i, id := range fields["WNID"] {
		number, err := integers(fields["ILSVRC2012_ID"][i])
		if err != nil || len(number) != 1 {
			return nil, fmt.Errorf("%s: %w: synset %d has no ILSVRC2012_ID", meta, data.ErrFormat, i)
		}
		byNumber[number[0]] = id.Text
	}
	var ids []string
	for _, number := range numbers {
		ids = append(ids, byNumber[number])
	}
	return ids, nil
}
