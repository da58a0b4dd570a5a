package evaluate

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/space"
)

// Results is results.json: what the architectures of a run reached on a split.
type Results struct {
	Space  string `json:"space"`
	Split  string `json:"split"`
	Images int    `json:"images"`
	Crops  int    `json:"crops"` // of an image; its logits are their mean
	Step   int    `json:"step"`  // updates behind the weights
	// Precision of products: float32 or bf16. None: an ONNX file's own, or float32 in
	// files from before there was a choice.
	Precision engine.Precision `json:"precision,omitempty"`
	// Recalibrated is the number of batches that the statistics of batch norms were
	// estimated on after training; 0: they are those of training.
	Recalibrated int      `json:"recalibrated,omitempty"`
	Archs        []Result `json:"architectures"`
}

// Result is one architecture's row. All but the last field are the same in every
// repetition.
type Result struct {
	Bin    string  `json:"bin"` // key of the candidate's interval
	Arch   string  `json:"arch"`
	Params int64   `json:"params"`
	MACs   int64   `json:"macs"` // multiply-accumulates of one image
	Top1   float64 `json:"top1"` // fraction of the images
	Top5   float64 `json:"top5"`
	Loss   float64 `json:"loss"`
	Rate   float64 `json:"images_per_second"`
}

// NewResult is the row of one architecture.
func NewResult(m space.Model, bin string, arch space.Arch, s Score) Result {
	r := Result{
		Bin: bin, Arch: arch.String(), Params: m.Params(arch), MACs: m.MACs(arch),
		Top1: float64(s.Top1) / float64(s.Images), Top5: float64(s.Top5) / float64(s.Images), Loss: s.Loss,
	}
	if s.Seconds > 0 {
		r.Rate = float64(s.Images) / s.Seconds
	}
	return r
}

// Write writes results.json, whole or not at all.
func (r Results) Write(f fsys.FS, path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fsys.WriteAtomic(f, path, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// ReadResults reads a file that Write wrote.
func ReadResults(path string) (Results, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Results{}, err
	}
	var r Results
	if err := json.Unmarshal(text, &r); err != nil {
		return Results{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
