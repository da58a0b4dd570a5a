package space

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"prenas/internal/fsys"
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
//	      "num_params": 5.99476,            millions
//	      "score": 1010076.75
//	    }
//	  ],
//	  "7.0": [...]
//	}
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
	f, err := os.Open(path)
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
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// fileCandidate is a candidate as the file has it. Pointers tell a missing key
// from a zero.
type fileCandidate struct {
	LayerNum  *int    `json:"layer_num"`
	MLPRatio  []ratio `json:"mlp_ratio"`
	NumHeads  []int   `json:"num_heads"`
	EmbedDim  []int   `json:"embed_dim"`
	NumParams *number `json:"num_params"`
	Score     *number `json:"score"`
}

// ratio is written as the YAML files have it: 4, not 4.0.
type ratio float64

func (r ratio) MarshalJSON() ([]byte, error) { return []byte(formatRatio(float64(r))), nil }

// number is written as Python writes a float.
type number float64

func (n number) MarshalJSON() ([]byte, error) { return []byte(pythonFloat(float64(n))), nil }

// ParseCandidates reads the text of a candidates file; see ReadCandidates.
func ParseCandidates(text []byte) (Candidates, error) {
	bad := func(format string, args ...any) (Candidates, error) {
		return nil, fmt.Errorf("%w: "+format, append([]any{ErrCandidates}, args...)...)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return bad("it is not a JSON object of intervals")
	}
	// Key by key, because a map would swallow a key that is given twice.
	var all Candidates
	seen := map[float64]bool{}
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
		var list []fileCandidate
		if err := dec.Decode(&list); err != nil {
			return bad("interval %s: %v", key, err)
		}
		if count += len(list); count > maxCandidates {
			return bad("more than %d candidates", maxCandidates)
		}
		bin := Bin{Key: key, Candidates: make([]Candidate, len(list))}
		for i, fc := range list {
			if bin.Candidates[i], err = fc.candidate(); err != nil {
				return bad("interval %s, candidate %d: %v", key, i, err)
			}
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

func (f fileCandidate) candidate() (Candidate, error) {
	fail := func(format string, args ...any) (Candidate, error) { return Candidate{}, fmt.Errorf(format, args...) }
	if f.LayerNum == nil || f.NumParams == nil || f.Score == nil || f.MLPRatio == nil || f.NumHeads == nil || f.EmbedDim == nil {
		return fail("it needs layer_num, mlp_ratio, num_heads, embed_dim, num_params and score")
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
	// Millions are written with all their digits, so the count is exact; 1e-3
	// allows for the rounding of the division and of the product.
	exact := float64(*f.NumParams) * 1e6
	params := math.Round(exact)
	if !(params > 0 && params < 1e15) || math.Abs(exact-params) > 1e-3 {
		return fail("num_params %v is not a count in millions", *f.NumParams)
	}
	a := Arch{EmbedDim: f.EmbedDim[0], NumHeads: f.NumHeads, MLPRatio: make([]float64, layers)}
	for i, r := range f.MLPRatio {
		a.MLPRatio[i] = float64(r)
	}
	return Candidate{Arch: a, Params: int64(params), Score: float64(*f.Score)}, nil
}

// Check reports the first candidate that is not of the space, or whose number
// of parameters is not what the space's model has.
func (c Candidates) Check(s *Space) error {
	for _, bin := range c {
		for i, cand := range bin.Candidates {
			err := s.Check(cand.Arch)
			if want := s.Model.Params(cand.Arch); err == nil && want != cand.Params {
				err = fmt.Errorf("num_params is %v million, in space %q it has %v", float64(cand.Params)/1e6, s.Name, float64(want)/1e6)
			}
			if err != nil {
				return fmt.Errorf("interval %s, candidate %d: %w", bin.Key, i, err)
			}
		}
	}
	return nil
}

// Write writes the candidates file, whole or not at all.
func (c Candidates) Write(fs fsys.FS, path string) error {
	text, err := c.MarshalText()
	if err != nil {
		return fmt.Errorf("candidates file %s: %w", path, err)
	}
	return fsys.WriteAtomic(fs, path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
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
	layers, params, score := c.Arch.Depth(), number(float64(c.Params)/1e6), number(c.Score)
	f := fileCandidate{
		LayerNum: &layers, NumHeads: c.Arch.NumHeads, NumParams: &params, Score: &score,
		EmbedDim: slices.Repeat([]int{c.Arch.EmbedDim}, layers),
		MLPRatio: make([]ratio, layers),
	}
	for i, r := range c.Arch.MLPRatio {
		f.MLPRatio[i] = ratio(r)
	}
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
