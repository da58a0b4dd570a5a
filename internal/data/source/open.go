package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/data"
	"prenas/internal/data/disk"
	"prenas/internal/data/fetch"
	"prenas/internal/data/inspect"
	"prenas/internal/data/pack"
	"prenas/internal/data/shard"
	"prenas/internal/input"
)

// Options of Open and Fetch.
type Options struct {
	Seed    uint64
	HeldOut float64 // part of train to hold out for choosing, where the source has no such split; 0 for none
	// HeldOutOf, if not nil, says HeldOut from how many images there are to train on, and how many of
	// them can be held out at most: none where the source has a split for choosing.
	HeldOutOf func(images, most int) float64
	Stratify  bool                    // HeldOut is of each class
	Look      bool                    // look at some training images, to say if there is nothing to see in them
	Log       func(string)            // steps of fetching, and what a user should know; nil for none
	Progress  func(done, total int64) // bytes of a download; nil for none
}

func (o Options) log(format string, args ...any) {
	if o.Log != nil {
		o.Log(fmt.Sprintf(format, args...))
	}
}

// watch is who is told of fetching.
func (o Options) watch() fetch.Watch { return fetch.Watch{Log: o.Log, Progress: o.Progress} }

// source opens a source of its kind at a path.
type source struct {
	kind, path string // path: what it is, for help; empty if the kind takes none
	open       func(ctx context.Context, path string, o Options) (*data.Dataset, error)
}

var sources = []source{
	{"fashion-mnist", "", openFashionMNIST},
	{"idx", "a folder with train-images-idx3-ubyte(.gz) and its like", openIDX},
	{"folder", "a folder of images, one sub-folder a class, or train, val and test with such in them", openFolder},
	{"cifar10", "the folder of CIFAR-10's binary version", openCIFAR10},
	{"cifar100", "the folder of CIFAR-100's binary version", openCIFAR100},
	{"imagenet", "the folder of ImageNet: train and val, by WordNet id", openImageNet},
	{"pets", "the folder of Oxford-IIIT Pet: images and annotations", openPets},
	{"flowers102", "the folder of Oxford Flowers-102: jpg, imagelabels.mat and setid.mat", openFlowers},
	{"cars", "the folder of Stanford Cars: cars_train, cars_test and devkit", openCars},
	{"inaturalist", "the folder of iNaturalist: train and val with train.json and val.json, or the file of the training images", openINaturalist},
	{"tar", "tar shards, .tar, .tar.gz or .tar.zst: " + fmt.Sprintf(shard.Patterns, ".tar"), func(ctx context.Context, path string, o Options) (*data.Dataset, error) {
		return shard.OpenTar(ctx, path, o.watch())
	}},
	{"parquet", "Parquet files in Hugging Face's image layout: " + fmt.Sprintf(shard.Patterns, ".parquet"), func(ctx context.Context, path string, o Options) (*data.Dataset, error) {
		return shard.OpenParquet(ctx, path, o.watch())
	}},
	{"pack", "a folder that prenas data pack wrote", func(_ context.Context, path string, _ Options) (*data.Dataset, error) { return pack.Open(path) }},
	{"synthetic", "CLASSESxCOUNTxSIZE, as 10x5000x224: images made up for benchmarks", openSynthetic},
}

// Describe describes what SRC can be, a line each.
func Describe() []string {
	var lines []string
	for _, s := range sources {
		line := s.kind
		if s.path != "" {
			line += ":PATH  " + s.path
		}
		lines = append(lines, line)
	}
	return lines
}

// Kinds are what a SRC begins with, with the colon where a path follows.
func Kinds() []string {
	var kinds []string
	for _, s := range sources {
		if s.path != "" {
			kinds = append(kinds, s.kind+":")
		} else {
			kinds = append(kinds, s.kind)
		}
	}
	return kinds
}

// parseSource finds the kind of a SRC and its path.
func parseSource(src string) (s source, path string, err error) {
	kind, path, _ := strings.Cut(src, ":")
	i := slices.IndexFunc(sources, func(s source) bool { return s.kind == kind })
	is, _ := disk.IsFolder(src) // for the error's sake
	switch {
	case i < 0 && is:
		return s, "", fmt.Errorf("%w %q; for a folder of images write folder:%s", data.ErrSource, src, src)
	case i < 0:
		return s, "", fmt.Errorf("%w %q; %v takes:\n  %s", data.ErrSource, src, input.Data, strings.Join(Describe(), "\n  "))
	case sources[i].path == "" && path != "":
		return s, "", fmt.Errorf("%w %q: %s takes no path", data.ErrSource, src, kind)
	case sources[i].path != "" && path == "":
		return s, "", fmt.Errorf("%w %q: want %s:PATH, PATH being %s", data.ErrSource, src, kind, sources[i].path)
	}
	return sources[i], expandHome(path), nil
}

// expandHome puts the home folder in place of ~ where a path, or one of several with commas
// between them, begins with it: shells do not do so behind a colon.
func expandHome(paths string) string {
	home, err := os.UserHomeDir()
	if err != nil {
		return paths
	}
	list := strings.Split(paths, ",")
	for i, path := range list {
		if path == "~" || strings.HasPrefix(path, "~/") {
			list[i] = filepath.Join(home, path[1:])
		}
	}
	return strings.Join(list, ",")
}

// Absolute is a source with its path from the root, so that it names the same images in
// any folder. What has no path stays, and what is no source.
func Absolute(src string) string {
	s, path, err := parseSource(src)
	if err != nil || s.path == "" || s.kind == "synthetic" {
		return src
	}
	here, err := os.Getwd()
	if err != nil {
		return src
	}
	paths := []string{path}
	if s.kind == "tar" || s.kind == "parquet" {
		if strings.ContainsAny(here, "{}*?[],") { // which would be part of the pattern
			return src
		}
		paths = shard.SplitPatterns(path)
	}
	for i, path := range paths {
		if !filepath.IsAbs(path) && !strings.HasPrefix(path, "http://") && !strings.HasPrefix(path, "https://") {
			paths[i] = filepath.Join(here, path)
		}
	}
	return s.kind + ":" + strings.Join(paths, ",")
}

// Missing tells whether there is nothing where a source's path points.
func Missing(src string) bool {
	s, path, err := parseSource(src)
	if err != nil || s.path == "" || s.kind == "synthetic" || strings.ContainsAny(path, "{*?[,") || strings.Contains(path, "://") {
		return false
	}
	_, err = os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// Open opens a source and, where it has none, cuts off a held-out split.
func Open(ctx context.Context, src string, o Options) (*data.Dataset, error) {
	source, path, err := parseSource(src)
	if err != nil {
		return nil, err
	}
	d, err := source.open(ctx, path, o)
	if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(path, "{*?[,") { // not of patterns
		if _, missing := os.Stat(path); missing != nil {
			return nil, fmt.Errorf("%s: %s %w%s", src, path, data.ErrMissing, asWritten(path))
		}
	}
	if err != nil {
		return nil, err
	}
	if d.Test == nil {
		d.Test = data.None{}
	}
	if d.Train.Len() == 0 && d.Test.Len() == 0 {
		return nil, fmt.Errorf("%w in %s", data.ErrEmpty, src)
	}
	if d.Mean == nil {
		d.Mean, d.Std = data.Statistics(d.Channels)
	}
	heldOut := d.HeldOut != nil
	if !heldOut {
		d.HeldOut = data.None{}
	}
	d.NoteContents()
	if !heldOut {
		if o.HeldOutOf != nil {
			o.HeldOut = o.HeldOutOf(d.Train.Len(), data.MostHeldOut(d.Train, o.Stratify))
		}
		d.Train, d.HeldOut = data.HoldOut(d.Train, o.Seed, o.HeldOut, o.Stratify)
	} else if o.HeldOutOf != nil {
		o.HeldOutOf(d.Train.Len(), 0)
	}
	for _, note := range d.Notes {
		o.log("data: %s", note)
	}
	if text := d.LeftOut.String(); text != "" {
		o.log("data: left out: %s", text)
	}
	o.tellClassesWithoutImages(d)
	if o.Look && o.Log != nil {
		if text := inspect.OneColour(ctx, d); text != "" {
			o.log("data: %s", text)
		}
	}
	return d, nil
}

// asWritten says, as the end of an error, what of a path is taken as it is written.
func asWritten(path string) string {
	switch {
	case strings.Contains(path, "$"):
		return "; variables are for the shell to fill in, which it does not between single quotes"
	case strings.HasPrefix(path, "~"):
		return "; of a path that begins with ~ only ~/ is your home folder here: write the other out"
	case strings.HasPrefix(path, "file:"):
		return "; write a path, without file:"
	case strings.TrimSpace(path) != path:
		return "; it begins or ends with a space"
	}
	return ""
}
