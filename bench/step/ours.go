package main

import (
	"context"
	"encoding/json"
	"os"
	"syscall"

	"prenas/internal/engine"
	"prenas/internal/space"
	"prenas/internal/train"
)

// measureHere is the process that measures our side: it writes a measurement as JSON.
func measureHere(ctx context.Context, text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	s, err := space.Load(j.Space)
	if err != nil {
		return err
	}
	e, err := engine.Open(ctx, engine.Options{Backend: j.Backend, Devices: 1, Log: func(string) {}})
	if err != nil {
		return err
	}
	defer e.Close()
	recipe, err := train.DefaultRecipe().WithPrecision(j.Precision)
	if err != nil {
		return err
	}
	recipe.Batch = j.Batch
	speed, err := train.Measure(ctx, e, s, s.Largest(), recipe, j.Steps)
	if err != nil {
		return err
	}
	m := measurement{Compile: speed.Compile.Seconds()}
	for _, step := range speed.Steps {
		m.Seconds = append(m.Seconds, step.Seconds())
	}
	// The peak is the step's: it is read before anything else is measured.
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	m.PeakBytes = float64(usage.Maxrss) * 1024
	d, err := e.Diagnose(ctx)
	if err != nil {
		return err
	}
	if m.Peak = d.GFLOPS["Float32"]; j.Precision == "bf16" {
		m.Peak = d.GFLOPS["BFloat16"]
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}
