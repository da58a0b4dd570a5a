// Command latency measures how long an exported model takes for a batch of images, on the engine beside onnxruntime (the
// ONNX file in float32, in float16 and in 8 bits) and PyTorch (examples/pytorch), which run the same weights.
//
//	pip install -r bench/step/requirements.txt safetensors onnxruntime==1.32.0
//	go run ./bench/latency -space tiny -batches 1,16
//
// The model has a space's largest architecture, or -arch, and weights as at initialisation: what they are makes no
// difference. Every side is a process of its own, and the sides take turns. A round's figure is the median of its runs, from
// normalised pixels to logits, and the table has the least of the rounds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"prenas/bench/child"
	"prenas/internal/classify"
	"prenas/internal/engine"
	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/onnx"
	"prenas/internal/supernet"
	_ "prenas/pkg/prenas/pool" // as the program prenas has it
	"prenas/pkg/space"
)

// side is what runs the model.
type side struct {
	name      string
	file      string           // of the model
	precision engine.Precision // of the engine or PyTorch
	peer      bool             // PyTorch
}

var sides = []side{
	{name: "prenas, bf16", file: "model.safetensors", precision: engine.BFloat16},
	{name: "prenas, float32", file: "model.safetensors", precision: engine.Float32},
	{name: "onnxruntime, float32", file: "model.onnx"},
	{name: "onnxruntime, float32, opset 20", file: "plain.onnx"},
	{name: "onnxruntime, fp16", file: "half.onnx"},
	{name: "onnxruntime, int8", file: "int8.onnx"},
	{name: "PyTorch, bf16", file: "model.safetensors", precision: engine.BFloat16, peer: true},
	{name: "PyTorch, float32", file: "model.safetensors", precision: engine.Float32, peer: true},
}

// job is what a process measures.
type job struct {
	Path      string           `json:"path"`
	Precision engine.Precision `json:"precision"`
	Batch     int              `json:"batch"`
	Seconds   float64          `json:"seconds"`
}

func main() { child.Main("latency", compare, measureHere) }

func compare(ctx context.Context) (err error) {
	name := flag.String("space", "tiny", "built-in space or YAML file of vision transformers")
	text := flag.String("arch", "", "name of an architecture (default: the space's largest)")
	list := flag.String("batches", "1,16", "images of a run")
	seconds := flag.Float64("seconds", 2, "time of a round of a side, after warm-up")
	rounds := flag.Int("rounds", 3, "turns of each side")
	python := flag.String("python", "python3", "interpreter with torch and safetensors; empty: no PyTorch")
	flag.Parse()
	s, err := space.Load(*name)
	if err != nil {
		return err
	}
	arch := s.Largest()
	if *text != "" {
		if arch, err = space.ParseArch(*text); err != nil {
			return fmt.Errorf("-arch: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "prenas-latency-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := write(dir, s.Model, arch); err != nil {
		return err
	}
	fmt.Printf("%s, %s, %.1f M parameters; milliseconds of a run\n", s.Name, arch, float64(s.Model.Params(arch))/1e6)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "batch\tside\tms\timages/s")
	for number := range strings.SplitSeq(*list, ",") {
		batch, err := strconv.Atoi(number)
		if err != nil || batch < 1 {
			return fmt.Errorf("-batches: %q is no number of images", number)
		}
		least := map[string]float64{}
		for range *rounds {
			for _, side := range sides {
				if side.peer && *python == "" {
					continue
				}
				took, err := side.measure(ctx, *python, job{filepath.Join(dir, side.file), side.precision, batch, *seconds})
				if err != nil {
					return fmt.Errorf("%s: %w", side.name, err)
				}
				if before, has := least[side.name]; !has || took < before {
					least[side.name] = took
				}
			}
		}
		for _, side := range sides {
			if took, has := least[side.name]; has {
				fmt.Fprintf(w, "%d\t%s\t%.2f\t%.1f\n", batch, side.name, 1e3*took, float64(batch)/took)
			}
		}
	}
	return w.Flush()
}

// write writes the model in all forms.
func write(dir string, m space.Model, arch space.Arch) error {
	plain := m.Plain()
	model, err := export.Take(supernet.Standalone(plain, arch).Init(0), plain, arch, export.Info{
		Preprocess: export.Preprocess{Size: m.ImageSize, Resize: m.ImageSize, Interpolation: export.Bicubic, Mean: slices.Repeat([]float32{0.5}, m.Channels),
			Std: slices.Repeat([]float32{0.5}, m.Channels)},
	})
	if err != nil {
		return err
	}
	return errors.Join(
		model.Write(fsys.OS, filepath.Join(dir, "model.safetensors")),
		onnx.Write(fsys.OS, filepath.Join(dir, "model.onnx"), model, onnx.Options{}),
		onnx.Write(fsys.OS, filepath.Join(dir, "plain.onnx"), model, onnx.Options{Plain: true}),
		onnx.Write(fsys.OS, filepath.Join(dir, "half.onnx"), model, onnx.Options{Half: true}),
		onnx.Write(fsys.OS, filepath.Join(dir, "int8.onnx"), model, onnx.Options{Int8: true}))
}

// measure runs a side in a process of its own, and returns the seconds of a run.
func (s side) measure(ctx context.Context, python string, j job) (float64, error) {
	var took []float64
	var err error
	if s.peer {
		err = child.Python(ctx, python, peer, j, &took)
	} else {
		err = child.Self(ctx, j, &took)
	}
	if err != nil {
		return 0, err
	}
	return child.Median(took), nil
}

// peer is a job by PyTorch.
const peer = `
import json, sys, time
sys.path.insert(0, "examples/pytorch")
import torch
from prenas_vit import load
j = json.load(sys.stdin)
model, info = load(j["path"])
model.eval()
a = info["architecture"]
x = torch.randn(j["batch"], a["channels"], a["image_size"], a["image_size"])
took = []
with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=j["precision"] == "bf16"):
    for _ in range(3):
        model(x)
    until = time.monotonic() + j["seconds"]
    while len(took) < 3 or time.monotonic() < until:
        began = time.monotonic()
        model(x)
        took.append(time.monotonic() - began)
print(json.dumps(took))
`

// measureHere measures the engine or onnxruntime in this process: the seconds of each run.
func measureHere(ctx context.Context, j job) (took []float64, err error) {
	m, err := classify.Open(ctx, j.Path, classify.Options{Batch: j.Batch, Precision: j.Precision})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	a := m.Info().Architecture
	inputs := make([][]float32, j.Batch)
	for i := range inputs {
		inputs[i] = make([]float32, a.Channels*a.ImageSize*a.ImageSize)
		for k := range inputs[i] {
			inputs[i][k] = float32((i+31*k)%255)/127 - 1
		}
	}
	const warmUp = 3
	began := time.Now()
	for i := 0; i < warmUp+3 || time.Since(began).Seconds() < j.Seconds; i++ {
		if i == warmUp {
			began, took = time.Now(), nil
		}
		at := time.Now()
		if _, err := m.Logits(inputs); err != nil {
			return nil, err
		}
		took = append(took, time.Since(at).Seconds())
	}
	return took, nil
}
