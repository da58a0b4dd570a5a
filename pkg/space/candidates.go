package space

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"prenas/internal/fsys"
	"prenas/internal/mistaken"
	"prenas/internal/nearest"
	"prenas/internal/plaintext"
)

// Candidate is an architecture that a search chose.
type Candidate struct {
	Arch   Arch
	Params int64
	Score  float64
}

// Bin is what a search chose for one interval of parameter counts.
type Bin struct {
	Key        string      // the interval's upper bound in millions, as BinKey writes it
	Candidates []Candidate // best first
}

// Candidates is what a search chose, by ascending interval: the content of
// candidates.json. The file has the original's form, a key per interval:
//
//	{
//	  "6.0": [
//	    {
//	      "layer_num": 12,
//	      "mlp_ratio": [4, 3.5, ...],       one per layer
//	      "num_heads": [4, 3, ...],         one per layer
//	      "embed_dim": [192, 192, ...],     one per layer, all equal
//	      "layers": [0, 1, 4, ...],         blocks of the supernet that it keeps; only
//	                                        where they are not the first ones
//	      "num_params": 5.99476,            millions
//	      "score": 1010076.75
//	    }
//	  ],
//	  "7.0": [...]
//	}
//
// A convolutional candidate has instead of its first four keys
//
//	"resolution": 224,
//	"depth": [2, 3, 4, 2, 2],          layers of each unit
//	"kernel_size": [3, 5, ...],        one per layer
//	"expand_ratio": [4, 6, ...],       one per layer
type Candidates []Bin

// Limits of a candidates file; the largest published one has 8 kB.
const (
	maxCandidatesFile = 64 << 20
	maxCandidates     = 1 << 18
)

// BinKey is the text of an interval's upper bound: the shortest that reads
// back as the same float64, with ".0" on whole numbers, as Python prints it.
func BinKey(upper float64) string { return pythonFloat(upper) }

// ReadCandidates reads a candidates file, the original's or ours, whatever the
// order of its keys. It refuses what contradicts itself; Check compares with a
// space. Errors wrap ErrCandidates and name the file.
func ReadCandidates(path string) (Candidates, error) {
	f, err := fsys.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("candidates file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCandidatesFile+1))
	if err != nil {
		return nil, fmt.Errorf("candidates file %s: %w", path, err)
	}
	if len(text) > maxCandidatesFile {
		return nil, fmt.Errorf("%s: %w: larger than %d bytes", path, ErrCandidates, maxCandidatesFile)
	}
	c, err := ParseCandidates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, mistaken.Instead(text, err))
	}
	return c, nil
}

// fileCandidate is a candidate as the file has it. Pointers tell a missing key
// from a zero.
type fileCandidate struct {
	LayerNum *int        `json:"layer_num,omitempty"`
	MLPRatio []fileRatio `json:"mlp_ratio,omitempty"`
	NumHeads []int       `json:"num_heads,omitempty"`
	EmbedDim []int       `json:"embed_dim,omitempty"`
	Layers   []int       `json:"layers,omitempty"`

	Resolution  *int        `json:"resolution,omitempty"`
	Depth       []int       `json:"depth,omitempty"`
	KernelSize  []int       `json:"kernel_size,omitempty"`
	ExpandRatio []fileRatio `json:"expand_ratio,omitempty"`

	NumParams *fileNumber `json:"num_params"`
	Score     *fileNumber `json:"score"`
}

// fileRatio is written as the YAML files have it: 4, not 4.0.
type fileRatio float64

func (r fileRatio) MarshalJSON() ([]byte, error) { return []byte(formatRatio(float64(r))), nil }

// fileNumber is written as Python writes a float.
type fileNumber float64

func (n fileNumber) MarshalJSON() ([]byte, error) { return []byte(pythonFloat(float64(n))), nil }

// ParseCandidates reads the text of a candidates file; see ReadCandidates.
func ParseCandidates(text []byte) (Candidates, error) {
	bad := func(format string, args ...any) (Candidates, error) {
		return nil, fmt.Errorf("%w: "+format, append([]any{ErrCandidates}, args...)...)
	}
	text, err := plaintext.UTF8(text)
	if err != nil {
		return bad("%v", err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return bad("it is not a JSON object of intervals")
	}
	// Key by key, because a map would swallow a key that is given twice.
	var all Candidates
	seen := map[float64]bool{}
	places := map[string]string{} // of architectures, which are trained once
	count := 0
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return bad("%v", err)
		}
		key := token.(string)
		upper, err := strconv.ParseFloat(key, 64)
		if err != nil || !(upper > 0) || math.IsInf(upper, 0) {
			return bad("key %.40q is not an interval's upper bound in millions", key)
		}
		if seen[upper] {
			return bad("interval %s is given twice", key)
		}
		seen[upper] = true
		var list []json.RawMessage
		if err := dec.Decode(&list); err != nil {
			return bad("interval %s: %s", key, jsonFault(err))
		}
		if count += len(list); count > maxCandidates {
			return bad("more than %d candidates", maxCandidates)
		}
		bin := Bin{Key: key, Candidates: make([]Candidate, len(list))}
		for i, text := range list {
			if bin.Candidates[i], err = parseCandidate(text); err != nil {
				return bad("interval %s, candidate %d: %v", key, i, err)
			}
			place, arch := fmt.Sprintf("interval %s, candidate %d", key, i), bin.Candidates[i].Arch.String()
			if before, twice := places[arch]; twice {
				return bad("%s and %s are both %s: take one of them out", before, place, arch)
			}
			places[arch] = place
		}
		all = append(all, bin)
	}
	if _, err := dec.Token(); err != nil {
		return bad("it ends within the object of intervals")
	}
	if _, err := dec.Token(); err != io.EOF {
		return bad("there is more after the object of intervals")
	}
	all.sort()
	return all, nil
}

// parseCandidate reads the JSON of one candidate, key by key: encoding/json lets a key
// that is given twice pass.
func parseCandidate(text []byte) (Candidate, error) {
	var f fileCandidate
	fields := map[string]any{
		"layer_num": &f.LayerNum, "mlp_ratio": &f.MLPRatio, "num_heads": &f.NumHeads, "embed_dim": &f.EmbedDim, "layers": &f.Layers,
		"resolution": &f.Resolution, "depth": &f.Depth, "kernel_size": &f.KernelSize, "expand_ratio": &f.ExpandRatio,
		"num_params": &f.NumParams, "score": &f.Score,
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return Candidate{}, errors.New("it is not a JSON object")
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return Candidate{}, errors.New(jsonFault(err))
		}
		key := token.(string)
		into, known := fields[key]
		if !known {
			near, _ := nearest.Name(key, slices.Collect(maps.Keys(fields)))
			return Candidate{}, fmt.Errorf("unknown key %.40q; did you mean %s?", key, near)
		}
		if seen[key] {
			return Candidate{}, fmt.Errorf("%s is given twice", key)
		}
		seen[key] = true
		if err := dec.Decode(into); err != nil {
			return Candidate{}, fmt.Errorf("%s: %s", key, jsonFault(err))
		}
	}
	return f.candidate()
}

// jsonFault says what is wrong with a JSON text without the names of Go's types.
func jsonFault(err error) string {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong) && wrong.Type.Kind() == reflect.Slice:
		return fmt.Sprintf("it wants a list, not the %s", wrong.Value)
	case errors.As(err, &wrong) && wrong.Type.Kind() == reflect.Int:
		return fmt.Sprintf("it wants a whole number of at most 64 bits, not the %s", wrong.Value)
	case errors.As(err, &wrong):
		return fmt.Sprintf("it wants a number, not the %s", wrong.Value)
	case errors.As(err, &syntax):
		return "it is not JSON, which has no NaN and no Infinity: " + err.Error()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the file ends here"
	}
	return err.Error()
}

func (f fileCandidate) candidate() (Candidate, error) {
	fail := func(format string, args ...any) (Candidate, error) { return Candidate{}, fmt.Errorf(format, args...) }
	if f.NumParams == nil || f.Score == nil {
		return fail("it needs num_params and score")
	}
	read := f.vit
	if f.Resolution != nil {
		read = f.conv
	}
	a, err := read()
	if err != nil {
		return Candidate{}, err
	}
	// Millions are written with all their digits, so the count is exact; 1e-3
	// allows for the rounding of the division and of the product.
	exact := float64(*f.NumParams) * 1e6
	params := math.Round(exact)
	if !(params > 0 && params < 1e15) || math.Abs(exact-params) > 1e-3 {
		return fail("num_params %v is not a count in millions", *f.NumParams)
	}
	return Candidate{Arch: a, Params: int64(params), Score: float64(*f.Score)}, nil
}

func (f fileCandidate) vit() (Arch, error) {
	fail := func(format string, args ...any) (Arch, error) { return Arch{}, fmt.Errorf(format, args...) }
	if f.LayerNum == nil || f.MLPRatio == nil || f.NumHeads == nil || f.EmbedDim == nil {
		return fail("it needs layer_num, mlp_ratio, num_heads and embed_dim")
	}
	if f.Depth != nil || f.KernelSize != nil || f.ExpandRatio != nil {
		return fail("depth, kernel_size and expand_ratio go with resolution, not with layer_num")
	}
	layers := *f.LayerNum
	if layers < 1 || layers > maxLayers {
		return fail("layer_num %d is not from 1 to %d", layers, maxLayers)
	}
	if len(f.MLPRatio) != layers || len(f.NumHeads) != layers || len(f.EmbedDim) != layers {
		return fail("layer_num is %d, but mlp_ratio, num_heads and embed_dim have %d, %d and %d entries",
			layers, len(f.MLPRatio), len(f.NumHeads), len(f.EmbedDim))
	}
	for i := range layers {
		switch {
		case f.EmbedDim[i] != f.EmbedDim[0] || f.EmbedDim[i] < 1 || f.EmbedDim[i] > maxDim:
			return fail("embed_dim must be one number from 1 to %d, repeated for each layer", maxDim)
		case f.NumHeads[i] < 1 || f.NumHeads[i] > maxLayers:
			return fail("layer %d: num_heads %d is not from 1 to %d", i, f.NumHeads[i], maxLayers)
		case !(f.MLPRatio[i] > 0 && f.MLPRatio[i] <= maxRatio):
			return fail("layer %d: mlp_ratio %v is not above 0 and at most %d", i, f.MLPRatio[i], maxRatio)
		}
	}
	a := Arch{EmbedDim: f.EmbedDim[0], NumHeads: f.NumHeads, MLPRatio: converted[float64](f.MLPRatio)}
	if f.Layers == nil {
		return a, nil
	}
	if len(f.Layers) != layers {
		return fail("layer_num is %d, but layers has %d entries", layers, len(f.Layers))
	}
	for i, l := range f.Layers {
		if l < 0 || l >= maxLayers || i > 0 && l <= f.Layers[i-1] {
			return fail("layers %v are not ascending numbers of blocks from 0 to %d", f.Layers, maxLayers-1)
		}
	}
	return a.Keeping(f.Layers), nil
}

func (f fileCandidate) conv() (Arch, error) {
	fail := func(format string, args ...any) (Arch, error) { return Arch{}, fmt.Errorf(format, args...) }
	if f.LayerNum != nil || f.MLPRatio != nil || f.NumHeads != nil || f.EmbedDim != nil || f.Layers != nil {
		return fail("layer_num, mlp_ratio, num_heads, embed_dim and layers do not go with resolution")
	}
	if *f.Resolution < 1 || *f.Resolution > maxPixels {
		return fail("resolution %d is not from 1 to %d", *f.Resolution, maxPixels)
	}
	for u, d := range f.Depth {
		if d < 1 || d > maxLayers {
			return fail("unit %d: depth %d is not from 1 to %d", u, d, maxLayers)
		}
	}
	for l, k := range f.KernelSize {
		if k < 1 || k > maxKernel || k%2 == 0 {
			return fail("layer %d: kernel_size %d is not an odd number from 1 to %d", l, k, maxKernel)
		}
	}
	for l, e := range f.ExpandRatio {
		if !(e > 0 && e <= maxRatio) {
			return fail("layer %d: expand_ratio %v is not above 0 and at most %d", l, e, maxRatio)
		}
	}
	if len(f.Depth) == 0 || len(f.Depth) > maxUnits {
		return fail("depth lists %d units; it must be from 1 to %d", len(f.Depth), maxUnits)
	}
	a, why := convArch(*f.Resolution, f.Depth, f.KernelSize, converted[float64](f.ExpandRatio))
	if why != "" {
		return fail("depth, kernel_size and expand_ratio: %s", why)
	}
	return a, nil
}

func converted[To, From ~float64](values []From) []To {
	out := make([]To, len(values))
	for i, v := range values {
		out[i] = To(v)
	}
	return out
}

// Check reports the first candidate that is not of the space, or whose number
// of parameters is not what the space's model has with any number of classes, the same
// for all.
func (c Candidates) Check(s *Space) error {
	classes := 0
	for _, bin := range c {
		for i, cand := range bin.Candidates {
			err := s.Check(cand.Arch)
			if err == nil {
				n, fits := countedWith(s.Model, cand)
				if !fits || classes > 0 && n != classes {
					err = fmt.Errorf("num_params is %v million, in space %q it has %v", float64(cand.Params)/1e6, s.Name, float64(s.Model.Params(cand.Arch))/1e6)
				}
				classes = n
			}
			if err != nil {
				return fmt.Errorf("interval %s, candidate %d: %w", bin.Key, i, err)
			}
		}
	}
	return nil
}

// Write writes the text of the candidates file, or nothing where it has none.
func (c Candidates) Write(w io.Writer) error {
	text, err := c.MarshalText()
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// MarshalText is the text of the candidates file, keys in ascending order, the
// same bytes as Python's json.dump(..., indent=2) gives and so as the files
// that the original's authors published.
func (c Candidates) MarshalText() ([]byte, error) {
	c = slices.Clone(c)
	c.sort()
	// Key by key, because a map would be written in the order of the texts,
	// "10.0" before "6.0".
	var compact, indented bytes.Buffer
	compact.WriteByte('{')
	for i, bin := range c {
		list := make([]fileCandidate, len(bin.Candidates))
		for j, cand := range bin.Candidates {
			if math.IsNaN(cand.Score) || math.IsInf(cand.Score, 0) {
				return nil, fmt.Errorf("%w: interval %s, candidate %d: score %v cannot be written", ErrCandidates, bin.Key, j, cand.Score)
			}
			list[j] = toFile(cand)
		}
		text, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			compact.WriteByte(',')
		}
		fmt.Fprintf(&compact, "%q:%s", bin.Key, text)
	}
	compact.WriteByte('}')
	if err := json.Indent(&indented, compact.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	return indented.Bytes(), nil
}

func toFile(c Candidate) fileCandidate {
	params, score := fileNumber(float64(c.Params)/1e6), fileNumber(c.Score)
	f := fileCandidate{NumParams: &params, Score: &score}
	if c.Arch.IsConv() {
		depths, kernels, expands := c.Arch.flat()
		f.Resolution, f.Depth, f.KernelSize, f.ExpandRatio = &c.Arch.Resolution, depths, kernels, converted[fileRatio](expands)
		return f
	}
	layers := c.Arch.Depth()
	f.LayerNum, f.NumHeads, f.MLPRatio = &layers, c.Arch.NumHeads, converted[fileRatio](c.Arch.MLPRatio)
	f.EmbedDim, f.Layers = slices.Repeat([]int{c.Arch.EmbedDim}, layers), c.Arch.Layers
	return f
}

func (c Candidates) sort() {
	slices.SortStableFunc(c, func(a, b Bin) int {
		// Keys that are no numbers cannot be read; 0 sorts those first.
		x, _ := strconv.ParseFloat(a.Key, 64)
		y, _ := strconv.ParseFloat(b.Key, 64)
		return cmp.Compare(x, y)
	})
}

// pythonFloat is Python's repr of a float: the shortest text that reads back,
// ".0" on whole numbers, an exponent below 1e-4 and from 1e16.
func pythonFloat(v float64) string {
	if size := math.Abs(v); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// Recounted are the candidates with the parameters that they have in a model, and the
// number of classes of the head that theirs were counted with, if that is another one; 0:
// they were counted right.
func (c Candidates) Recounted(m Model) (recounted Candidates, classes int) {
	for _, bin := range c {
		bin.Candidates = slices.Clone(bin.Candidates)
		for i := range bin.Candidates {
			cand := &bin.Candidates[i]
			if params := m.Params(cand.Arch); params != cand.Params {
				classes, _ = countedWith(m, *cand)
				cand.Params = params
			}
		}
		recounted = append(recounted, bin)
	}
	return recounted, classes
}

// countedWith is the number of classes with which a candidate would have its parameters in
// a model; it is false where there is none.
func countedWith(m Model, c Candidate) (int, bool) {
	m.NumClasses = 1
	one := m.Params(c.Arch)
	m.NumClasses = 2
	each := m.Params(c.Arch) - one
	if above := c.Params - one; above >= 0 && above%each == 0 && above/each < maxClasses {
		return int(above/each) + 1, true
	}
	return 0, false
}
