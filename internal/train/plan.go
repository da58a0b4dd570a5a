package train

import (
	"context"
	"fmt"
	"time"

	"prenas/internal/engine"
	"prenas/internal/machine"
	"prenas/internal/trainstep"
)

// Plan is what a run would be, measured on this machine without training it.
type Plan struct {
	Epochs    int              `json:"epochs"`
	Updates   int              `json:"updates"`
	Images    int              `json:"images_per_update"`
	Train     int              `json:"train_images"`
	HeldOut   int              `json:"held_out_images"`
	Sampler   string           `json:"sampler"`
	Precision engine.Precision `json:"precision"`
	PeakLR    float64          `json:"peak_lr"`
	Archs     []PlannedArch    `json:"architectures"`
	Compile   float64          `json:"compile_seconds"` // of all programs of updates
	Seconds   float64          `json:"seconds"`         // of all updates, if images are ready in time
	PeakBytes int64            `json:"peak_bytes"`      // most memory that the process has had while measuring; 0: this system does not tell
}

// PlannedArch is an architecture of a Plan.
type PlannedArch struct {
	Arch   string  `json:"arch"`
	Params int64   `json:"params"`
	Turns  float64 `json:"turns"` // parts of an update that it takes, on average
	Rate   float64 `json:"images_per_second"`
}

// planSteps are measured of each architecture; the fastest counts.
const planSteps = 2

// MakePlan compiles the step of each architecture, times a few steps on noise, and adds
// up. It writes nothing. The sampler space, which trains others too, is planned by the
// preferred ones.
func MakePlan(ctx context.Context, o Options) (Plan, error) {
	t, err := newTrainer(ctx, o)
	if err != nil {
		return Plan{}, err
	}
	r := t.Recipe
	p := Plan{
		Epochs: r.Epochs, Updates: t.steps, Images: r.Batch * r.Accumulate, Sampler: r.Sampler.Name, Precision: trainstep.Precision(r), PeakLR: r.PeakLR(),
	}
	p.Train, p.HeldOut = t.Source.Counts()
	const rounds = 1000
	turns := make([]int, len(t.archs))
	for step := range rounds {
		for _, which := range t.sampler.At(step) {
			turns[which]++
		}
	}
	for i, arch := range t.archs {
		t.Log(fmt.Sprintf("measuring %d/%d: %s", i+1, len(t.archs), arch))
		speed, err := trainstep.Measure(ctx, t.Engine, t.Space, arch, r, planSteps)
		if err != nil {
			return p, err
		}
		fastest := speed.Steps[0]
		for _, step := range speed.Steps {
			fastest = min(fastest, step)
		}
		a := PlannedArch{Arch: arch.String(), Params: t.Space.Model.Params(arch), Turns: float64(turns[i]) / rounds, Rate: float64(r.Batch) / fastest.Seconds()}
		p.Archs = append(p.Archs, a)
		p.Compile += speed.Compile.Seconds()
		p.Seconds += float64(t.steps) * a.Turns * float64(p.Images) / a.Rate
	}
	p.PeakBytes = machine.PeakBytes()
	return p, nil
}

// Time that the plan takes.
func (p Plan) Time() time.Duration {
	return time.Duration((p.Compile + p.Seconds) * float64(time.Second)).Round(time.Second)
}
