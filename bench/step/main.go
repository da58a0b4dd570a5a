// Command step measures the train step and the evaluation of the largest architecture
// of a space beside the same network in PyTorch (bench/peer): the way the original writes it, and,
// with -best, the way PyTorch runs it fastest.
//
//	pip install -r bench/step/requirements.txt
//	go run ./bench/step -space tiny -batch 16 -compile
//	go run ./bench/step -space conv -batch 16
//	go run ./bench/step -space small -batch 256 -best -backend cuda:/path/to/plugin.so
//
// On CUDA both sides run on the first device.
//
// Every side is a process of its own, and the sides take turns, so that what else the
// machine does falls on all of them. A round's figure is the median of its steps; the
// table has the median of the rounds.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"strings"
	"text/tabwriter"

	"prenas/bench/child"
	"prenas/bench/peer"
	"prenas/internal/engine"
	"prenas/pkg/space"
)

// side is one of those that take turns.
type side struct {
	name      string
	precision engine.Precision
	run       func(context.Context, job) (measurement, error)
	rounds    []measurement
}

// job is what a side measures.
type job struct {
	Space     string           `json:"space"`
	Batch     int              `json:"batch"`
	Steps     int              `json:"steps"`
	Precision engine.Precision `json:"precision"`
	Backend   string           `json:"backend"`
	Devices   int              `json:"devices"` // of our side
}

// device of both sides, in PyTorch's words.
func (j job) device() string {
	if strings.HasPrefix(j.Backend, "cuda") {
		return "cuda"
	}
	return "cpu"
}

// measurement of one round of a side.
type measurement struct {
	Seconds     []float64 `json:"seconds"`      // of each train step
	EvalSeconds []float64 `json:"eval_seconds"` // of each batch evaluated
	Compile     float64   `json:"compile"`      // seconds, of the train step; 0: nothing is compiled
	PeakBytes   float64   `json:"peak_bytes"`   // of the process, while it trains; on CUDA of the device
	Peak        float64   `json:"peak"`         // GFLOP/s of a product in this precision; ours only
}

func main() { child.Main("step", compare, measureHere) }

func compare(ctx context.Context) error {
	var j job
	flag.StringVar(&j.Space, "space", "tiny", "built-in space or YAML file")
	flag.IntVar(&j.Batch, "batch", 16, "images of a step")
	flag.IntVar(&j.Steps, "steps", 5, "steps of a round, after warm-up")
	flag.StringVar(&j.Backend, "backend", "auto", "engine of our side")
	flag.IntVar(&j.Devices, "devices", 1, "devices that share our side's batch")
	rounds := flag.Int("rounds", 3, "turns of each side")
	precisions := flag.String("precisions", "float32,bf16", "precisions to measure")
	python := flag.String("python", "python3", "interpreter with the packages of bench/step/requirements.txt; empty: no peer")
	compiled := flag.Bool("compile", false, "also measure the peer with torch.compile")
	best := flag.Bool("best", false, "measure the peer with fused attention and torch.compile in place of the original's way")
	flag.Parse()
	s, err := space.Load(j.Space)
	if err != nil {
		return err
	}
	theirs := func(how variant) func(context.Context, job) (measurement, error) {
		return func(ctx context.Context, j job) (measurement, error) { return measurePeer(ctx, *python, s, j, how) }
	}
	var sides []*side
	var wanted []engine.Precision
	for name := range strings.SplitSeq(*precisions, ",") {
		p, err := engine.ParsePrecision(name)
		if err != nil {
			return fmt.Errorf("-precisions: %w", err)
		}
		if p == engine.AutoPrecision {
			return fmt.Errorf("-precisions: %s is no precision of the peer's", p)
		}
		wanted = append(wanted, p)
	}
	add := func(name string, run func(context.Context, job) (measurement, error)) {
		for _, precision := range wanted {
			sides = append(sides, &side{name: name, precision: precision, run: run})
		}
	}
	add("prenas", measureOurs)
	switch {
	case *python == "":
	case *best && s.Model.IsConv():
		add("PyTorch, channels last, compiled", theirs(variant{compile: true, channelsLast: true}))
	case *best:
		add("PyTorch, fused attention, compiled", theirs(variant{fused: true, compile: true}))
	default:
		add("PyTorch", theirs(variant{}))
		if s.Model.IsConv() {
			add("PyTorch, channels last", theirs(variant{channelsLast: true}))
		}
		if *compiled {
			add("PyTorch, compiled", theirs(variant{compile: true, channelsLast: s.Model.IsConv()}))
		}
	}
	for round := range *rounds {
		for _, side := range sides {
			j.Precision = side.precision
			m, err := side.run(ctx, j)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", side.name, side.precision, err)
			}
			side.rounds = append(side.rounds, m)
			fmt.Fprintf(os.Stderr, "round %d  %-22s %-8s %.3f s a step\n", round+1, side.name, side.precision, child.Median(m.Seconds))
		}
	}
	return printTable(s, j, sides)
}

// pick is the median over a side's rounds.
func (s *side) pick(of func(measurement) float64) float64 {
	var all []float64
	for _, m := range s.rounds {
		all = append(all, of(m))
	}
	return child.Median(all)
}

func (s *side) seconds() float64 {
	return s.pick(func(m measurement) float64 { return child.Median(m.Seconds) })
}

func (s *side) evalSeconds() float64 {
	return s.pick(func(m measurement) float64 { return child.Median(m.EvalSeconds) })
}

func printTable(s *space.Space, j job, sides []*side) error {
	arch := s.Largest()
	fmt.Printf("%s, %s, batch %d; forward, backward and AdamW; evaluation\n", s.Name, arch, j.Batch)
	peaks := map[engine.Precision]float64{} // of products, by precision: our side measures them for both
	for _, side := range sides {
		if peak := side.pick(func(m measurement) float64 { return m.Peak }); peak > 0 {
			peaks[side.precision] = peak
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "side\tprecision\timages/s\tGFLOP/s\tof product peak\tcompile s\tpeak GB\tevaluation images/s")
	for _, side := range sides {
		// A multiply-accumulate is two operations, and a step is three passes.
		gflops := float64(s.Model.MACs(arch)) * 6 * float64(j.Batch) / side.seconds() / 1e9
		ofPeak, compile := "", ""
		if peak := peaks[side.precision]; peak > 0 {
			ofPeak = fmt.Sprintf("%.0f %% of %.0f", 100*gflops/peak, peak)
		}
		if c := side.pick(func(m measurement) float64 { return m.Compile }); c > 0 {
			compile = fmt.Sprintf("%.1f", c)
		}
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%.0f\t%s\t%s\t%.2f\t%.1f\n", side.name, side.precision, float64(j.Batch)/side.seconds(), gflops,
			ofPeak, compile, side.pick(func(m measurement) float64 { return m.PeakBytes })/1e9, float64(j.Batch)/side.evalSeconds())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	printRatios(sides)
	return nil
}

// printRatios says how many times the speed of the peer ours is: precision by precision,
// and the best of each.
func printRatios(sides []*side) {
	best := func(ours bool, precision engine.Precision, seconds func(*side) float64) (shortest float64) {
		for _, side := range sides {
			if (side.name == "prenas") == ours && (precision == "" || side.precision == precision) {
				if s := seconds(side); shortest == 0 || s < shortest {
					shortest = s
				}
			}
		}
		return shortest
	}
	for _, precision := range []engine.Precision{engine.Float32, engine.BFloat16, ""} {
		ours, theirs := best(true, precision, (*side).seconds), best(false, precision, (*side).seconds)
		if ours == 0 || theirs == 0 {
			continue
		}
		name := string(precision)
		if name == "" {
			name = "the best of each"
		}
		fmt.Printf("%s: %.2f times the peer's best train step, %.2f times its best evaluation\n", name, theirs/ours,
			best(false, precision, (*side).evalSeconds)/best(true, precision, (*side).evalSeconds))
	}
}

// measureOurs measures in a process of its own.
func measureOurs(ctx context.Context, j job) (m measurement, err error) {
	err = child.Self(ctx, j, &m)
	return m, err
}

// variant is how the peer runs its network.
type variant struct{ compile, channelsLast, fused bool }

// object is one of JSON.
type object = map[string]any

func measurePeer(ctx context.Context, python string, s *space.Space, j job, how variant) (m measurement, err error) {
	program, input := peer.ViT, vitOf(s)
	switch {
	case s.Model.IsConv():
		program, input = peer.Conv, convOf(s)
	case how.fused:
		program = peer.FusedViT
	}
	maps.Copy(input, object{
		"batch": j.Batch, "steps": j.Steps, "warm_up": 2, "precision": j.Precision, "device": j.device(),
		"compile": how.compile, "channels_last": how.channelsLast,
	})
	err = child.Python(ctx, python, program, input, &m)
	return m, err
}

// vitOf describes the largest architecture to the peer.
func vitOf(s *space.Space) object {
	arch := s.Largest()
	var hidden []int
	for _, ratio := range arch.MLPRatio {
		hidden = append(hidden, space.Hidden(arch.EmbedDim, ratio))
	}
	return object{
		"arch": object{"embed_dim": arch.EmbedDim, "num_heads": arch.NumHeads, "hidden": hidden},
		"model": object{
			"image_size": s.Model.ImageSize, "patch_size": s.Model.PatchSize, "channels": s.Model.Channels, "num_classes": s.Model.NumClasses,
			"head_dim": s.Model.HeadDim, "max_relative_position": s.Model.MaxRelativePosition,
		},
		"super": object{
			"embed_dim": s.Supernet.EmbedDim, "num_heads": s.Supernet.NumHeads,
			"hidden": space.Hidden(s.Supernet.EmbedDim, s.Supernet.MLPRatio),
		},
	}
}

// convOf is vitOf for a convolutional space.
func convOf(s *space.Space) object {
	arch, c := s.Largest(), s.Model.Conv
	var blocks []object
	for _, b := range s.Model.ConvBlocks(arch) {
		blocks = append(blocks, object{
			"in": b.In, "hidden": b.Hidden, "out": b.Out, "expands": b.Expands, "kernel": b.Kernel, "stride": b.Stride,
			"squeeze": b.Squeeze, "h_swish": b.Activation == space.HardSwish, "residual": b.Residual,
		})
	}
	return object{
		"arch":  object{"stem": c.Stem, "stem_stride": c.StemStride, "features": c.Features, "mix": c.Mix, "blocks": blocks},
		"model": object{"image_size": arch.Resolution, "channels": s.Model.Channels, "num_classes": s.Model.NumClasses},
	}
}
