package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/machine"
	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/internal/trainstep"
	"prenas/pkg/space"
)

// measureHere measures our side in this process.
func measureHere(ctx context.Context, j job) (m measurement, err error) {
	s, err := space.Load(j.Space)
	if err != nil {
		return m, err
	}
	e, err := engine.Open(ctx, engine.Options{Backend: j.Backend, Devices: j.Devices, Log: func(string) {}})
	if err != nil {
		return m, err
	}
	defer e.Close()
	recipe := recipe.Default()
	recipe.Precision, recipe.Batch = string(j.Precision), j.Batch
	speed, err := trainstep.Measure(ctx, e, s, s.Largest(), recipe, j.Steps, time.Time{})
	if err != nil {
		return m, err
	}
	m.Compile = speed.Compile.Seconds()
	for _, step := range speed.Steps {
		m.Seconds = append(m.Seconds, step.Seconds())
	}
	// The peak is the step's: it is read before anything else is measured.
	if m.PeakBytes, err = peakBytes(j.device()); err != nil {
		return m, err
	}
	if m.EvalSeconds, err = measureEvaluation(ctx, e, s, j); err != nil {
		return m, err
	}
	d, err := e.Diagnose(ctx)
	if err != nil {
		return m, err
	}
	if m.Peak = d.GFLOPS["float32"]; j.Precision == engine.BFloat16 {
		m.Peak = max(d.GFLOPS["bfloat16"], d.AMXGFLOPS)
	}
	return m, nil
}

// peakBytes is the most memory that the process had until now; on CUDA what of the
// device's is in use now, of which XLA gives nothing back.
func peakBytes(device string) (float64, error) {
	if device == "cuda" {
		out, err := exec.Command("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits").Output()
		if err != nil {
			return 0, fmt.Errorf("nvidia-smi: %w", err)
		}
		first, _, _ := strings.Cut(string(out), "\n")
		mebibytes, err := strconv.ParseFloat(strings.TrimSpace(first), 64)
		return mebibytes * (1 << 20), err
	}
	return float64(machine.PeakBytes()), nil
}

// measureEvaluation times batches of noise, from the scores of the one before to its own, after two
// that are not counted. Each is copied to the device during the one before.
func measureEvaluation(ctx context.Context, e *engine.Engine, s *space.Space, j job) ([]float64, error) {
	net := supernet.New(s)
	largest := s.Largest()
	initial := func(params []supernet.Param) (held []*tensors.Tensor, err error) {
		for _, p := range params {
			w, err := e.Upload(p.Init(0))
			if err != nil {
				return nil, err
			}
			held = append(held, w)
		}
		return held, nil
	}
	shared, err := initial(net.Params())
	if err != nil {
		return nil, err
	}
	stats, err := initial(supernet.Stats(s.Model, largest))
	if err != nil {
		return nil, err
	}
	weights := evaluate.Weights{Shared: shared, Stats: [][]*tensors.Tensor{stats}}
	evaluator, err := evaluate.New(e, net, []space.Arch{largest}, j.Batch, 1, j.Precision)
	if err != nil {
		return nil, err
	}
	defer evaluator.Close()
	const warmUp = 2
	all := trainstep.Repeat(trainstep.NoiseBatch(j.Batch, s.Model), warmUp+j.Steps)
	var seconds []float64
	began := time.Now()
	if _, err := evaluator.Run(ctx, weights, all, func(done int) {
		if done > warmUp*j.Batch {
			seconds = append(seconds, time.Since(began).Seconds())
		}
		began = time.Now()
	}); err != nil {
		return nil, err
	}
	return seconds, nil
}
