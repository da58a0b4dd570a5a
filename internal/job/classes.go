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

// classes are names by label or by output, as a data set or a model has them. Names that
// are just the numbers from 0 on, in order, are what shards without names have.
type classes []string

// named tells whether any class has a name that is not its own number.
func (c classes) named() bool {
	for i, name := range c {
		if name != strconv.Itoa(i) {
			return true
		}
	}
	return false
}

// matched says which output of a model each label of images means.
type matched struct {
	output  []int  // by label; unknown where the model has no such class
	assumed string // what was taken for granted, for people; empty: nothing
}

// unknown is the output of a label that the model does not know.
const unknown = -1

// match finds the images' classes among those of a model with so many outputs: by name,
// whatever their order and number, the k-th class of a name being the k-th of that name.
// Where one side has no names and none of its numbers is a name of the other, classes are
// taken by place, which assumed says.
//
// counts are the images of each label; classes without images may be unknown. Others are
// an error, which wraps ErrClasses and names them.
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
			return m, fmt.Errorf("%w: the model's %d outputs have no names, and the images have %d classes: nothing says which is which", ErrClasses, all, len(images))
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

// byName is the output of each label, or unknown. Names are compared by what they look
// like: file systems differ in how they write é.
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

// same tells whether each label is the output of its number.
func (m matched) same() bool {
	for label, output := range m.output {
		if label != output {
			return false
		}
	}
	return true
}

// labelCounts are the images of each label of a split.
func labelCounts(split data.Split, classes int) []int {
	counts := make([]int, classes)
	for i := range split.Len() {
		counts[split.Label(i)]++
	}
	return counts
}

// labelledFor gives the images of a split the labels that a model has for their classes,
// and tells what it assumes and which of the model's classes have no image.
func labelledFor(split data.Split, images, model classes, outputs int, log func(string)) (data.Split, error) {
	counts := labelCounts(split, len(images))
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
	if of == 0 { // it has outputs without names
		of = outputs
	}
	if len(shown) < of && split.Len() > 0 {
		log(fmt.Sprintf("the images are of %d of the model's %d classes", len(shown), of))
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

// few of some names, and how many more there are.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// ofImages is the space with an output for each class of the images, and the candidates with
// the parameters that they then have. It tells what changed. A space file that says another
// number contradicts the images, which is an error that wraps ErrClasses; with weights
// (pretrained) the file's number is theirs, and they get a new head.
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
		log(fmt.Sprintf("the candidates were searched with a head of %d outputs: their num_params are now those with %d, their intervals keep their names; search %v counts right from the start", before, s.Model.NumClasses, input.Data))
	}
	return s, recounted, nil
}

// suitHead gives the head of a supernet's weights an output for each class of images: that of
// the class of its name where the weights know all of them, else a new one, drawn from the seed. It
// tells which. Known are the classes of the weights, nil where they name none; without names of
// images the space's number of outputs is all there is to suit.
func suitHead(s *space.Space, weights map[string]tensorfile.Tensor, known, names classes, seed uint64, log func(string)) (drawn bool, err error) {
	net := supernet.New(s)
	had, outputs := headOf(s, weights).Model.NumClasses, s.Model.NumClasses
	rows := byName(names, known)
	switch {
	case len(names) == 0 && outputs == had:
		return false, nil
	case len(known) == 0 && outputs == had:
		log(fmt.Sprintf("warning: the weights name no classes: their %d outputs are taken to be those of the images, from %s to %s", had, nameOf(names, 0), nameOf(names, had-1)))
		return false, nil
	case len(names) == 0, slices.Contains(rows, unknown):
		anew := net.Init(seed)
		for _, p := range net.Params() {
			if p.InHead() {
				weights[p.Name] = anew[p.Name]
			}
		}
		what := fmt.Sprintf("%d classes instead of %d", outputs, had)
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
		log(fmt.Sprintf("the head keeps its outputs of the images' %d classes, by name; it had %d", outputs, had))
	}
	return false, nil
}

// warningOf is a log that says what its texts are of; all of them are warnings.
func warningOf(what string, log func(string)) func(string) {
	return func(text string) { log("warning: " + what + ": " + strings.TrimPrefix(text, "warning: ")) }
}
