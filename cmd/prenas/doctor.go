package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"prenas/internal/classify"
	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/machine"
)

// diagnosis is what this machine offers.
type diagnosis struct {
	engine.Diagnosis
	MPI           *mpiDiagnosis `json:"mpi,omitempty"`         // nil unless there are several ranks
	Runtime       string        `json:"onnxruntime,omitempty"` // path of the library that predict uses
	RuntimeSHA256 string        `json:"onnxruntime_sha256,omitempty"`
	Memory        int64         `json:"memory_bytes"` // most that the process can have
	Disk          int64         `json:"disk_bytes"`   // free in the working folder
	NoGPU         string        `json:"no_gpu,omitempty"`
}

// lookAround adds what the engine does not find out: memory, disk, onnxruntime.
func (d *diagnosis) lookAround() (err error) {
	d.Memory, d.NoGPU = machine.Memory(), engine.NoGPU()
	d.Disk, err = machine.FreeDisk(".")
	return err
}

// findRuntime looks for the library of onnxruntime. It does not load it.
func (d *diagnosis) findRuntime(ctx context.Context, out *console) (err error) {
	d.Runtime, err = classify.FindRuntime(ctx, "", out.line)
	if errors.Is(err, classify.ErrNoRuntime) {
		out.line(err.Error())
		return nil
	}
	if err == nil {
		d.RuntimeSHA256, err = fsys.Sum(d.Runtime)
	}
	return err
}

// about is the description of the engine without the plug-in's path, which has a line of its own.
func (d diagnosis) about() string {
	if _, rest, found := strings.Cut(d.Description, "("+d.Plugin+")"); found && d.Plugin != "" {
		return "PJRT plug-in " + strings.TrimSpace(rest)
	}
	return d.Description
}

func doctorCommand(g *global) *cobra.Command {
	return shared(&cobra.Command{
		Use: "doctor", Short: "Show what engine, devices and speed this machine offers", Args: cobra.NoArgs,
		Long: "Show what engine, devices and speed this machine offers, and which libraries of others commands load:\n" +
			"the plug-in, and for ONNX models onnxruntime. kernels says whether programs call our functions in C.\n" +
			"A product is XLA's own of large square matrices; one of kernels is a layer of a large transformer. --precision auto\n" +
			"of other commands times a smaller one, as training computes it. AMX are the matrix tiles of Intel's server\n" +
			"processors, which products in bf16 take; PRENAS_NO_AMX=1 turns them off.",
		Example: "  prenas doctor\n  prenas doctor --backend go --json",
		RunE: func(c *cobra.Command, _ []string) error {
			out := newConsole(g)
			e, err := g.openTelling(c.Context(), func(line string) {
				if !strings.Contains(line, "(cached") { // the plug-in that is there has a line of the result
					out.line(line)
				}
			})
			if err != nil {
				return err
			}
			defer e.Close()
			var d diagnosis
			if d.MPI, err = g.diagnoseMPI(e); err != nil || !g.ranks.First() {
				return err
			}
			if d.Diagnosis, err = e.Diagnose(c.Context()); err != nil {
				return err
			}
			if err := d.findRuntime(c.Context(), out); err != nil {
				return err
			}
			if err := d.lookAround(); err != nil {
				return fmt.Errorf("the disk of the working folder: %w", err)
			}
			return g.printResult(d, func(w io.Writer) error {
				fmt.Fprintf(w, "backend     %s (%s)\n", d.Backend, d.about())
				if d.Plugin != "" {
					fmt.Fprintf(w, "plug-in     %s\nsha256      %s\n", d.Plugin, d.PluginSHA256)
				}
				if d.MPI != nil {
					d.MPI.print(w)
				}
				if d.Runtime != "" {
					fmt.Fprintf(w, "onnxruntime %s\nsha256      %s\n", d.Runtime, d.RuntimeSHA256)
				}
				fmt.Fprintf(w, "devices     %d\ncores       %d\nhuge pages  %v\nkernels     %v\n", d.Devices, d.Cores, d.HugePages, d.Kernels)
				fmt.Fprintf(w, "memory      %s at most\ndisk        %s free in the working folder\n", machine.Bytes(float64(d.Memory)), machine.Bytes(float64(d.Disk)))
				switch {
				case d.NoGPU != "":
					fmt.Fprintf(w, "GPU         none: %s\n", d.NoGPU)
				case d.GPUAttention == "":
					fmt.Fprintln(w, "GPU         not used: --backend cuda takes it")
				}
				for _, name := range slices.Sorted(maps.Keys(d.Versions)) {
					fmt.Fprintf(w, "version     %s %s\n", name, d.Versions[name])
				}
				for _, name := range slices.Sorted(maps.Keys(d.GFLOPS)) {
					fmt.Fprintf(w, "product     %.0f GFLOP/s (%s)\n", d.GFLOPS[name], name)
				}
				for _, name := range slices.Sorted(maps.Keys(d.KernelGFLOPS)) {
					fmt.Fprintf(w, "of kernels  %.0f GFLOP/s (%s)\n", d.KernelGFLOPS[name], name)
				}
				fmt.Fprintf(w, "AMX         %s\n", d.AMX)
				if d.GPUAttention != "" {
					fmt.Fprintf(w, "attention   in bf16 on the GPU: %s\n", d.GPUAttention)
				}
				if d.AMXGFLOPS > 0 {
					fmt.Fprintf(w, "            %.0f GFLOP/s at most, of which the product of kernels reaches %.0f %%\n", d.AMXGFLOPS, 100*d.KernelGFLOPS["bfloat16"]/d.AMXGFLOPS)
				}
				return nil
			})
		},
	})
}
