// Command data measures how fast images become a model's input, on one core, beside
// torchvision with PIL in the same run: the same JPEG files, the same crops and mirrors,
// the same filter, normalised float32 at the end.
//
//	pip install -r bench/data/requirements.txt
//	go run ./bench/data
//
// Both sides take turns, so that what else the machine does falls on both. The sums of
// their results are compared: a side that leaves work out is an error.
package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"prenas/internal/augment"
	"prenas/internal/data"
	"prenas/internal/rng"
)

//go:embed peer.py
var peerProgram string

const (
	size = 224
	seed = 1
)

var (
	scale = [2]float64{0.08, 1}
	ratio = [2]float64{3.0 / 4, 4.0 / 3}
)

func main() {
	images := flag.Int("images", 300, "JPEG files of 500x375 pixels")
	rounds := flag.Int("rounds", 5, "turns of each side")
	python := flag.String("python", "python3", "interpreter with the packages of bench/data/requirements.txt; empty: no peer")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	if err := run(*images, *rounds, *python); err != nil {
		fmt.Fprintln(os.Stderr, "data:", err)
		os.Exit(1)
	}
}

// work is what both sides do in a turn, as the peer reads it.
type work struct {
	Filter string   `json:"filter"`
	Size   int      `json:"size"`
	Files  []string `json:"files"`
	Crops  [][4]int `json:"crops"` // top, left, height, width
	Flips  []bool   `json:"flips"`
}

// turn is how one went.
type turn struct {
	Seconds float64 `json:"seconds"`
	Sum     float64 `json:"sum"` // of all values of all images
}

func run(images, rounds int, python string) error {
	dir, err := os.MkdirTemp("", "prenas-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files, bytes, err := writePictures(filepath.Join(dir, "train", "class"), images)
	if err != nil {
		return err
	}
	fmt.Printf("%d JPEG files of %dx%d pixels, %d bytes in the mean; one core; images/s, best and median of %d turns\n",
		images, pictureWidth, pictureHeight, bytes/images, rounds)
	set, err := data.Open(context.Background(), "folder:"+dir, data.Options{})
	if err != nil {
		return err
	}
	var p *peer
	if python != "" {
		if p, err = startPeer(python); err != nil {
			return err
		}
		defer p.stop()
	}
	for _, filter := range []string{"bilinear", "bicubic"} {
		if err := compare(set.Train, files, filter, rounds, p); err != nil {
			return err
		}
	}
	return nil
}

// compare lets both sides take turns and prints a line for each.
func compare(split data.Split, files []string, filter string, rounds int, p *peer) error {
	w := work{Filter: filter, Size: size, Files: files}
	for i := range files {
		r := stream(i)
		part := augment.DrawCrop(pictureHeight, pictureWidth, scale, ratio, r)
		w.Crops = append(w.Crops, [4]int{part.Min.Y, part.Min.X, part.Dy(), part.Dx()})
		w.Flips = append(w.Flips, r.Float64() < 0.5)
	}
	var ours, theirs, ratios []float64
	for range rounds {
		a, err := prepare(split, w)
		if err != nil {
			return err
		}
		ours = append(ours, float64(len(files))/a.Seconds)
		if p == nil {
			continue
		}
		b, err := p.prepare(w)
		if err != nil {
			return err
		}
		values := float64(len(files) * 3 * size * size)
		if apart := math.Abs(a.Sum-b.Sum) / values; apart > 0.01 {
			return fmt.Errorf("%s: our values and the peer's are %v apart in the mean", filter, apart)
		}
		theirs, ratios = append(theirs, float64(len(files))/b.Seconds), append(ratios, b.Seconds/a.Seconds)
	}
	fmt.Printf("%-9s prenas       %6.0f %6.0f\n", filter, slices.Max(ours), median(ours))
	if p != nil {
		fmt.Printf("%-9s torchvision  %6.0f %6.0f   ratio of the same turn %.2f (median)\n", filter, slices.Max(theirs), median(theirs), median(ratios))
	}
	return nil
}

func stream(i int) *rand.Rand { return rng.New(seed, "augment", 0, uint64(i)) }

// prepare is our turn.
func prepare(split data.Split, w work) (turn, error) {
	in, err := augment.NewInput(3, size, []float32{0.485, 0.456, 0.406}, []float32{0.229, 0.224, 0.225})
	if err != nil {
		return turn{}, err
	}
	train, err := augment.NewTrain(in, augment.Options{Crop: "resized", Scale: scale, Ratio: ratio, Interpolation: w.Filter, Flip: 0.5})
	if err != nil {
		return turn{}, err
	}
	out := make([]float32, in.Len())
	var t turn
	for i := range w.Files {
		began := time.Now()
		img, err := split.Image(i)
		if err != nil {
			return t, err
		}
		if err := train.Apply(img, stream(i), out); err != nil {
			return t, err
		}
		t.Seconds += time.Since(began).Seconds()
		for _, v := range out {
			t.Sum += float64(v)
		}
	}
	return t, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// peer is the Python process.
type peer struct {
	command *exec.Cmd
	in      *json.Encoder
	out     *json.Decoder
	close   func() error
}

func startPeer(python string) (*peer, error) {
	c := exec.Command(python, "-c", peerProgram)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("--python: %w", err)
	}
	p := &peer{command: c, in: json.NewEncoder(in), out: json.NewDecoder(bufio.NewReader(out)), close: in.Close}
	var versions string
	if err := p.out.Decode(&versions); err != nil {
		return nil, fmt.Errorf("--python %s cannot run the peer: pip install -r bench/data/requirements.txt", python)
	}
	fmt.Println("peer:", versions)
	return p, nil
}

func (p *peer) prepare(w work) (t turn, err error) {
	if err := p.in.Encode(w); err != nil {
		return t, fmt.Errorf("peer: %w", err)
	}
	if err := p.out.Decode(&t); err != nil {
		return t, fmt.Errorf("peer: %w", err)
	}
	return t, nil
}

func (p *peer) stop() {
	if p.close() == nil {
		_ = p.command.Wait() // it has said all it had to say
	}
}
