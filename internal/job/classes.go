package job

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"prenas/internal/data"
	"prenas/internal/input"
	"prenas/internal/printable"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// ErrClasses: the classes of some images are not those of a model.
var ErrClasses = errors.New("other classes")

// classes are the names of classes: of a data set by label, of a model by output. A data set whose
// classes have no names, as shards may be, has the numbers from 0 on as names.
type classes []string

// named tells whether the classes have names: whether any is called other than by its own number.
func (c classes) named() bool {
	for i, name := range c {
		if name != strconv.Itoa(i) {
			return true
		}
	}
	return false
}

// matched says which output of a model stands for each label of the images.
type matched struct {
	output  []int  // by label; unknown where the model has no such class
	assumed string // what had to be assumed, as a sentence for people; empty: nothing
}

// unknown is the output of a label that the model does not know.
const unknown = -1

// match finds the images' classes among those of a model with all outputs. It goes by name,
// whatever the order and the number of classes. Where several classes have the same name, the k-th
// of the images is the k-th of the model. Where one side has no names, and none of its numbers is a
// name of the other, classes are matched by place; assumed then says so.
//
// counts are the images of each label. A class that has images and is not among the model's is an
// error, which wraps ErrClasses and names the class. A class without images may be unknown.
func match(images, model classes, outputs int, counts []int) (matched, error) {
	m := matched{output: byName(images, model)}
	if common := slices.ContainsFunc(m.output, func(o int) bool { return o != unknown }); !common && len(images) > 0 {
		all := len(model)
		if all == 0 {
			all = outputs
		}
		switch {
		case !images.named() && len(images) <= all:
			m.assumed = fmt.Sprintf("the images' classes have no names: label 0 is taken to be the model's class %s, and so on", nameOf(model, 0))
		case !model.named() && len(images) == all:
			m.assumed = fmt.Sprintf("the model's classes have no names: its output 0 is taken to be %s, and so on in the order of the images' classes", nameOf(images, 0))
		case !model.named():
			return m, fmt.Errorf("%w: no names for the model's %s, and the images have %s: nothing says which is which", ErrClasses, printable.Count(all, "output"), printable.Count(len(images), "class"))
		}
		for i := range m.output {
			if m.assumed != "" {
				m.output[i] = i
			}
		}
	}
	var strangers []string
	for label, output := range m.output {
		if output == unknown && counts[label] > 0 {
			strangers = append(strangers, fmt.Sprintf("%s (%s)", printable.Name(images[label]), printable.Count(counts[label], "image")))
		}
	}
	if len(strangers) > 0 {
		return m, fmt.Errorf("%w: the model does not know %s; it knows %s", ErrClasses, few(strangers), few(printable.Names(model)))
	}
	return m, nil
}

// byName is the output of each label by its name, or unknown. Names are compared after Unicode
// normalisation, since file systems write letters such as é in different ways.
func byName(images, model classes) []int {
	type nth struct {
		name string
		n    int
	}
	numbered := func(list classes) []nth {
		seen := map[string]int{}
		keys := make([]nth, len(list))
		for i, name := range list {
			name = norm.NFC.String(name)
			keys[i] = nth{name, seen[name]}
			seen[name]++
		}
		return keys
	}
	places := map[nth]int{}
	for output, key := range numbered(model) {
		places[key] = output
	}
	found := make([]int, len(images))
	for label, key := range numbered(images) {
		output, known := places[key]
		if found[label] = output; !known {
			found[label] = unknown
		}
	}
	return found
}

// same tells whether each label k means output k.
func (m matched) same() bool {
	for label, output := range m.output {
		if label != output {
			return false
		}
	}
	return true
}

// labelledFor gives the images of a split the model's labels in place of the data set's. It logs
// what it assumes, and which of the model's classes have no image. Its error wraps ErrClasses.
func labelledFor(split data.Split, images, model classes, outputs int, log func(string)) (data.Split, error) {
	counts := data.LabelCounts(split, len(images))
	m, err := match(images, model, outputs, counts)
	if err != nil {
		return nil, fmt.Errorf("%w: leave out what it does not know, or name other images", err)
	}
	if m.assumed != "" {
		log("warning: " + m.assumed)
	}
	shown := map[int]bool{}
	for label, output := range m.output {
		if counts[label] > 0 {
			shown[output] = true
		}
	}
	of := len(model)
	if of == 0 { // the model's outputs have no names
		of = outputs
	}
	if len(shown) < of && split.Len() > 0 {
		log(fmt.Sprintf("the images are of %d of the model's %s", len(shown), printable.Count(of, "class")))
	}
	if m.same() {
		return split, nil
	}
	return data.Relabel(split, m.output), nil
}

// nameOf a class, or its number.
func nameOf(list classes, i int) string {
	if i < len(list) {
		return printable.Name(list[i])
	}
	return strconv.Itoa(i)
}

// few writes the first names of a list, and how many more there are.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// ofImages returns the space with an output for each class of the images, and the candidates with
// their parameters counted anew. It logs what changed. A space file that names another number of
// classes contradicts the images: that is an error, which wraps ErrClasses. With pretrained weights
// it is none, since the number in the file is that of the weights, which get a new head.
func ofImages(s *space.Space, candidates space.Candidates, names classes, pretrained bool, log func(string)) (*space.Space, space.Candidates, error) {
	n := len(names)
	if s.ClassesGiven && !pretrained && n != s.Model.NumClasses {
		return nil, nil, fmt.Errorf("%w: NUM_CLASSES of the space %s is %d, and the images have %s (%s): leave NUM_CLASSES out of the file and search again, the images say it; or name other images",
			ErrClasses, s.Name, s.Model.NumClasses, printable.Count(n, "class"), few(printable.Names(names)))
	}
	if n != s.Model.NumClasses {
		log(fmt.Sprintf("outputs: %d, one for each class of the images", n))
		changed := *s
		changed.Model.NumClasses = n
		s = &changed
	}
	recounted, before := candidates.Recounted(s.Model)
	if before > 0 {
		log(fmt.Sprintf("the candidates were searched with a head of %s: their num_params are now those with %d, their intervals keep their names; search %v counts right from the start", printable.Count(before, "output"), s.Model.NumClasses, input.Data))
	}
	return s, recounted, nil
}

// suitHead gives the head of a supernet's weights an output for each class of the images. Where the
// weights know all classes by name, each output is the one of its name; otherwise the head is drawn
// anew from the seed. It logs which, and drawn says so. known are the classes of the weights, nil
// where they have no names. Without names of the images only the number of outputs is compared.
func suitHead(s *space.Space, weights map[string]tensorfile.Tensor, known, names classes, seed uint64, log func(string)) (drawn bool, err error) {
	net := supernet.New(s)
	had, outputs := headOf(s, weights).Model.NumClasses, s.Model.NumClasses
	rows := byName(names, known)
	switch {
	case len(names) == 0 && outputs == had:
		return false, nil
	case len(known) == 0 && outputs == had:
		log(fmt.Sprintf("warning: the weights name no classes: their %s taken to be those of the images, from %s to %s", printable.Are(had, "output"), nameOf(names, 0), nameOf(names, had-1)))
		return false, nil
	case len(names) == 0, slices.Contains(rows, unknown):
		anew := net.Init(seed)
		for _, p := range net.Params() {
			if p.InHead() {
				weights[p.Name] = anew[p.Name]
			}
		}
		what := fmt.Sprintf("%s instead of %d", printable.Count(outputs, "class"), had)
		if outputs == had {
			what = fmt.Sprintf("other classes (%s and so on instead of %s)", nameOf(names, 0), nameOf(known, 0))
		}
		log(what + ": the head is drawn anew")
		return true, nil
	case outputs == had && (matched{output: rows}).same():
		return false, nil
	}
	for _, p := range net.Params() {
		if !p.InHead() {
			continue
		}
		all, err := weights[p.Name].Float32s()
		if err != nil {
			return false, fmt.Errorf("tensor %q: %w", p.Name, err)
		}
		width := len(all) / had
		var own []float32
		for _, row := range rows {
			own = append(own, all[row*width:][:width]...)
		}
		weights[p.Name] = tensorfile.FromFloat32(p.Shape, own)
	}
	if outputs == had {
		log("the images' classes are those of the head in another order: its outputs are put into it, by name")
	} else {
		log(fmt.Sprintf("the head keeps its outputs of the images' %s, by name; it had %d", printable.Count(outputs, "class"), had))
	}
	return false, nil
}

// warningOf returns a log whose lines are warnings about the thing that is named.
func warningOf(what string, log func(string)) func(string) {
	return func(text string) { log("warning: " + what + ": " + strings.TrimPrefix(text, "warning: ")) }
}
