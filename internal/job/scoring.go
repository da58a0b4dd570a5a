package job

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"prenas/internal/data"
	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/printable"
	"prenas/internal/proxy"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/sealed"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/train"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// Scoring says what weights and images scores are computed from.
type Scoring struct {
	Weights      string // safetensors file; empty: drawn from the seed
	Inputs       string // safetensors file of images
	DropPathRate float64
	Data         string // source of real images
	Batches      int    // of real images
	SkipBad      bool   // leave out damaged images instead of failing
	Workers      int    // goroutines that read real images; 0: one per core
	Seed         uint64 // of weights, and of noise where there are no images
	Log          func(string)
}

// material is what the scores of a space are computed from.
type material struct {
	Scoring
	space  *space.Space
	images *data.Dataset // of Scoring.Data; nil: none
}

// scored is the supernet that is scored. It is the plain one, as in the original: nothing that single
// choices learn for themselves is part of it.
func scored(s *space.Space) *supernet.Net {
	plain := *s
	plain.Model = s.Model.Plain()
	return supernet.New(&plain)
}

// weights reads or draws the supernet's weights. Where the space file does not describe the model,
// the weights' file does. The number of classes is that of the images: a head of another number is
// drawn anew, as in training.
func (o material) weights() (map[string]tensorfile.Tensor, error) {
	s := o.space
	if o.Weights == "" {
		return scored(s).Init(o.Seed), nil
	}
	weights, look, err := readWeights(o.Weights, s)
	if err == nil && !s.Model.IsPlain() {
		err = fmt.Errorf("%w %s: its choices have norms, factors or kernels of their own (SWITCH_LN, SCALE_ATTN, SCALE_MLP, SCALE_EMBED, KERNEL_TRANSFORM), which scores know nothing of", input.Weights, o.Weights)
	}
	if err != nil {
		return nil, err
	}
	var names classes
	if o.images != nil {
		names, s.Model.NumClasses = o.images.Classes, len(o.images.Classes)
		normaliseAs(o.images, look)
	}
	_, err = suitHead(s, weights, look.Classes, names, o.Seed, warningOf(fmt.Sprintf("%v %s", input.Weights, o.Weights), o.Log))
	return weights, err
}

// headOf is the space with the number of outputs that the head of the weights has.
func headOf(s *space.Space, weights map[string]tensorfile.Tensor) *space.Space {
	own := *s
	for _, p := range supernet.New(s).Params() {
		if t := weights[p.Name]; p.InHead() && len(t.Shape) == len(p.Shape) && t.Shape[0] > 0 {
			own.Model.NumClasses = t.Shape[0]
		}
	}
	return &own
}

// readWeights reads a supernet's weights. Where the file is a model, look says how the images that
// it was trained on are normalised. The head may have another number of outputs than the space:
// see suitHead.
func readWeights(path string, s *space.Space) (weights map[string]tensorfile.Tensor, look rundir.ImageInfo, err error) {
	file, err := tensorfile.Read(path)
	if errors.Is(err, tensorfile.ErrFormat) && !strings.HasSuffix(path, ".safetensors") {
		return nil, look, fmt.Errorf("%w %s is no safetensors file; if PyTorch wrote it, prenas import brings it in: %w", input.Weights, path, err)
	}
	if err != nil {
		return nil, look, fmt.Errorf("%w: %w", input.Weights, err)
	}
	if own, of, err := modelWeights(file, s); err == nil {
		file.Tensors, look = own, of
	} else if !errors.Is(err, export.ErrNoDescription) {
		return nil, look, fmt.Errorf("%w %s: %w", input.Weights, path, err)
	}
	if !s.ModelGiven {
		if s.Model, err = supernet.InferModel(s, file.Tensors); err == nil {
			err = s.Validate()
		}
	}
	if err == nil {
		err = supernet.New(headOf(s, file.Tensors)).Check(file.Tensors)
	}
	if err == nil {
		err = checkFinite(file.Tensors)
	}
	if err != nil {
		return nil, look, fmt.Errorf("%w %s: %w", input.Weights, path, err)
	}
	return file.Tensors, look, nil
}

// checkFinite refuses NaN and infinity, since any score that is computed from them is NaN or
// infinite too.
func checkFinite(weights map[string]tensorfile.Tensor) error {
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		values, err := weights[name].Float32s()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		for i, v := range values {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("tensor %q has %v at position %d: %w", name, v, i, search.ErrNotFinite)
			}
		}
	}
	return nil
}

// shown names the source of the images, for people.
func (o Scoring) shown() string {
	if o.Data != "" {
		return fmt.Sprintf("%s of %s", printable.Count(o.Batches, "batch"), o.Data)
	}
	return o.Inputs
}

// batch is the images to score on: from a file, from a data set, or noise.
func (o material) batch(ctx context.Context) (proxy.ScoringBatch, error) {
	switch {
	case o.Data != "":
		return o.realImages(ctx)
	case o.Inputs == "":
		return proxy.Noise(o.space.Model, o.Seed), nil
	}
	file, err := tensorfile.Read(o.Inputs)
	if err != nil {
		return proxy.ScoringBatch{}, fmt.Errorf("%w: %w", input.Inputs, err)
	}
	batch, err := proxy.BatchFromFile(file, o.DropPathRate)
	if err != nil {
		return proxy.ScoringBatch{}, fmt.Errorf("%w %s: %w", input.Inputs, o.Inputs, err)
	}
	return batch, nil
}

// realImages are the first batches of a shuffled epoch of the training images, not augmented. The
// loss is the same as on noise, and takes no labels.
func (o material) realImages(ctx context.Context) (proxy.ScoringBatch, error) {
	set, m := o.images, o.space.Model
	source, err := train.NewImages(set, m, recipe.Recipe{SkipBadImages: o.SkipBad}, o.Seed, o.Workers)
	if err != nil {
		return proxy.ScoringBatch{}, fmt.Errorf("%w %s: %w", input.Data, o.Data, err)
	}
	size := min(proxy.NoiseBatch, set.Train.Len()) // a smaller set is one batch
	if have := set.Train.Len() / max(size, 1); o.Batches > have {
		return proxy.ScoringBatch{}, fmt.Errorf("%w is %d, but %s has %s, %s of %d", input.Batches, o.Batches, o.Data, printable.Count(set.Train.Len(), "training image"), printable.Count(have, "batch"), size)
	}
	if size < proxy.NoiseBatch {
		o.Log(fmt.Sprintf("scoring on all %s of %s: a batch has %d", printable.Count(size, "training image"), o.Data, proxy.NoiseBatch))
	}
	var values []float32
	done := 0
	for b, err := range source.Train(ctx, 0, 0, size, load.Share{}) {
		if err != nil {
			return proxy.ScoringBatch{}, fmt.Errorf("%w %s: %w", input.Data, o.Data, err)
		}
		values = append(values, b.Images...)
		if done++; done == o.Batches {
			break
		}
	}
	tellSkipped(source.Skipped(), o.Log)
	shape := []int{o.Batches * size, m.Channels, m.ImageSize, m.ImageSize}
	return proxy.ScoringBatch{Images: tensorfile.FromFloat32(shape, values), Batches: o.Batches}, nil
}

// sums returns the sums that a search needs, nil if it needs none, and the digest of what they are
// computed from. It takes those that are stored beside the candidates file, if they are of the same
// weights and images.
func (o SearchOptions) sums(ctx context.Context, from material, options search.Options, weights map[string]tensorfile.Tensor, timing *Timing) (sums *search.Sums, digest string, err error) {
	needs := options.Needs(from.space)
	if !needs.Weights {
		return nil, "", nil
	}
	began := time.Now()
	var batch proxy.ScoringBatch
	switch {
	case options.Score.Linear():
		weights, batch, err = proxy.Linear(from.space.Model, weights)
	case needs.Gradients:
		batch, err = from.batch(ctx)
	}
	if err != nil {
		return nil, "", err
	}
	digest = scoringDigest(from.space, weights, batch)
	timing.Weights += time.Since(began).Seconds()
	store := sumsPath(o.Out)
	sums, at := findSums(store, from.space, digest, needs, o.Log)
	if at == store {
		return sums, digest, nil
	}
	if sums == nil {
		sums, err = gradientSums(ctx, o.Engine, from.space, scored(from.space), weights, batch, needs, timing, o.Progress)
		if errors.Is(err, proxy.ErrInputs) {
			err = fmt.Errorf("%w %s: %w", input.Inputs, from.Inputs, err)
		}
		if err != nil {
			return nil, "", err
		}
	}
	return sums, digest, writeSums(store, digest, sums) // Explain wants them by the file's name
}

// findSums looks for sums by their digest, in the search's own file of sums first and then in others
// of the same folder. It returns them and their file; nil where there are none.
func findSums(store string, s *space.Space, digest string, needs search.Needs, log func(string)) (sums *search.Sums, at string) {
	return findStored(store, "the sums", "summing", log, func(path string) (*search.Sums, error) {
		sums, err := readSums(path, s, digest)
		if err == nil && !sums.Serves(needs) {
			return nil, fs.ErrNotExist
		}
		return sums, err
	})
}

// findStored looks for a value in the search's own file of sums, then in others of the same folder.
// It returns the value and its file, or no file where read finds it in none. what and doing are
// words for the log: what the value is, and what is done if a file cannot be read.
func findStored[T any](store, what, doing string, log func(string), read func(path string) (T, error)) (found T, at string) {
	for _, path := range sumsBeside(store) {
		stored, err := read(path)
		switch {
		case err == nil:
			log(fmt.Sprintf("went on from %s in %s", what, path))
			return stored, path
		case path == store && !errors.Is(err, fs.ErrNotExist):
			log(fmt.Sprintf("%v; %s anew", err, doing))
		}
	}
	return found, ""
}

// gradientSums sums weights over the slices of a space, and where they are needed the gradients on a
// batch. It adds the seconds that it took to timing.
func gradientSums(ctx context.Context, e *engine.Engine, s *space.Space, net *supernet.Net, weights map[string]tensorfile.Tensor, batch proxy.ScoringBatch, needs search.Needs, timing *Timing, progress func(done, total int)) (*search.Sums, error) {
	began := time.Now()
	var grads map[string]tensorfile.Tensor
	var err error
	if needs.Gradients {
		if grads, err = proxy.Gradients(ctx, e, net, weights, batch, progress); err != nil {
			return nil, err
		}
	}
	timing.Gradients += time.Since(began).Seconds()
	began = time.Now()
	w, err := plain(weights)
	if err != nil {
		return nil, err
	}
	g, err := plain(grads)
	if err != nil {
		return nil, err
	}
	sums, err := search.NewSums(s, w, g, needs.Moments)
	timing.Sums += time.Since(began).Seconds()
	return sums, err
}

// storedSums is candidates.sums.json: the sums of each search, by the digest of what they were
// computed from.
type storedSums map[string]json.RawMessage

// sumsPath is the sibling of a candidates file that holds the sums.
func sumsPath(candidates string) string {
	return strings.TrimSuffix(candidates, ".json") + ".sums.json"
}

// sumsBeside are the files of sums in the folder of a file, that file first. A search of the same
// weights and images that was written under another name has the same sums.
func sumsBeside(store string) []string {
	paths := []string{store}
	others, err := filepath.Glob(filepath.Join(globbed(filepath.Dir(store)), "*.sums.json"))
	if err != nil {
		return paths
	}
	for _, other := range others {
		if info, err := os.Stat(other); err == nil && info.Mode().IsRegular() && filepath.Clean(other) != filepath.Clean(store) {
			paths = append(paths, other)
		}
	}
	return paths
}

// globbed escapes the special characters of filepath.Glob in a folder's name.
func globbed(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

func readStore(path string) (storedSums, error) {
	all := storedSums{}
	return all, sealed.Read(fsys.OS, path, &all)
}

func readSums(path string, s *space.Space, digest string) (*search.Sums, error) {
	all, err := readStore(path)
	if err != nil {
		return nil, err
	}
	text, ok := all[digest]
	if !ok {
		return nil, fs.ErrNotExist
	}
	sums, err := search.ParseSums(s, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return sums, nil
}

func writeSums(path, digest string, sums *search.Sums) error { return store(path, digest, sums) }

// store puts a value under a key of a file of sums.
func store(path, key string, value any) error {
	all, err := readStore(path)
	if err != nil || all == nil { // null is JSON too
		all = storedSums{}
	}
	if all[key], err = json.Marshal(value); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	text, err := sealed.Marshal(all, "")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return writeText(fsys.OS, path, text)
}

// scoringDigest names what sums are computed from: the space, every weight and
// every pixel and mask.
func scoringDigest(s *space.Space, weights map[string]tensorfile.Tensor, batch proxy.ScoringBatch) string {
	h := sha256.New()
	fmt.Fprintf(h, "%+v %+v %v %v %v %v %v %d\n", s.Supernet, s.Model, s.EmbedDim, s.Depth, s.NumHeads, s.MLPRatio, batch.DropPathRate, batch.Batches)
	if s.Layers != nil {
		fmt.Fprintln(h, s.Layers)
	}
	digestTensors(h, weights)
	if batch.Linear {
		fmt.Fprintln(h, "linear")
	}
	digestTensors(h, batch.Masks)
	digestTensors(h, map[string]tensorfile.Tensor{"input": batch.Images})
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func digestTensors(h hash.Hash, all map[string]tensorfile.Tensor) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t := all[name]
		fmt.Fprintf(h, "%s %s %v %d\n", name, t.DType, t.Shape, len(t.Data))
		h.Write(t.Data)
	}
}

// plain turns tensors of files into tensors of package search.
func plain(from map[string]tensorfile.Tensor) (search.Tensors, error) {
	if from == nil {
		return nil, nil
	}
	to := make(search.Tensors, len(from))
	for name, t := range from {
		values, err := t.Float32s()
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		to[name] = search.Tensor{Shape: t.Shape, Data: values}
	}
	return to, nil
}
