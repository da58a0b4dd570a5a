package train

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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
	// Estimated tells that there was no time to measure it: its rate is the measured one's
	// next to it in size, by their multiply-accumulates.
	Estimated bool `json:"estimated,omitempty"`
}

// planSteps are measured of each architecture; the fastest counts.
const planSteps = 2

// MakePlan compiles the step of each architecture, times a few steps on noise, and adds
// up. It writes nothing. The sampler space, which trains others too, is planned by the
// preferred ones.
//
// It measures for about as long as within, if that is not 0: the smallest architecture in any
// case, then larger ones as long as they seem to fit. The others are estimated.
func MakePlan(ctx context.Context, o Options, within time.Duration) (Plan, error) {
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
	macs := func(i int) float64 { return float64(t.Space.Model.MACs(t.archs[i])) }
	order := make([]int, len(t.archs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(macs(a), macs(b)) })
	var until time.Time
	if within > 0 {
		until = time.Now().Add(within)
	}
	p.Archs = make([]PlannedArch, len(t.archs))
	var last struct {
		arch    int
		rate    float64
		compile time.Duration
		took    time.Duration
	}
	for n, i := range order {
		arch := t.archs[i]
		a := PlannedArch{Arch: arch.String(), Params: t.Space.Model.Params(arch), Turns: float64(turns[i]) / rounds}
		if larger := macs(i) / macs(order[max(n-1, 0)]); n > 0 && within > 0 && time.Now().Add(time.Duration(larger*float64(last.took))).After(until) {
			a.Estimated, a.Rate = true, last.rate*macs(last.arch)/macs(i)
			p.Compile += last.compile.Seconds()
		} else {
			t.Log(fmt.Sprintf("measuring %d/%d: %s", n+1, len(t.archs), arch))
			began := time.Now()
			speed, err := trainstep.Measure(ctx, t.Engine, t.Space, arch, r, planSteps, until)
			if err != nil {
				return p, err
			}
			a.Rate = float64(r.Batch) / slices.Min(speed.Steps).Seconds()
			p.Compile += speed.Compile.Seconds()
			last.arch, last.rate, last.compile, last.took = i, a.Rate, speed.Compile, time.Since(began)
		}
		p.Archs[i] = a
		p.Seconds += float64(t.steps) * a.Turns * float64(p.Images) / a.Rate
	}
	p.PeakBytes = machine.PeakBytes()
	return p, nil
}

// Estimated is how many architectures there was no time to measure.
func (p Plan) Estimated() int {
	n := 0
	for _, a := range p.Archs {
		if a.Estimated {
			n++
		}
	}
	return n
}

// Time that the plan takes.
func (p Plan) Time() time.Duration {
	return time.Duration((p.Compile + p.Seconds) * float64(time.Second)).Round(time.Second)
}
