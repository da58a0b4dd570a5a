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
	Compile   float64          `json:"compile_seconds"`        // of all programs of updates
	Seconds   float64          `json:"seconds"`                // of all updates, if images are ready in time
	Ranks     int              `json:"ranks,omitempty"`        // processes that share the updates, where there are several
	Hosts     int              `json:"hosts,omitempty"`        // of the ranks
	Sums      float64          `json:"sums_seconds,omitempty"` // of Seconds, what sums of gradients between ranks take
	PeakBytes int64            `json:"peak_bytes"`             // most memory that the process has had while measuring; 0: this system does not tell
}

// PlannedArch is an architecture of a Plan.
type PlannedArch struct {
	Arch   string  `json:"arch"`
	Params int64   `json:"params"`
	Turns  float64 `json:"turns"`                 // parts of an update that it takes, on average
	Rate   float64 `json:"images_per_second"`     // of all ranks, but for their sums
	Sum    float64 `json:"sum_seconds,omitempty"` // of one update's gradients, over all ranks
	// HostBytes is the most that a host sends to the others for that sum.
	HostBytes int64 `json:"host_bytes,omitempty"`
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
//
// On several ranks each measures its share of an update while the others do, and the slowest counts:
//
//	update = images / (ranks · images/s of the slowest) + the sum of its largest architecture's gradient
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
	turns, sums := make([]int, len(t.archs)), make([]int, len(t.archs)) // sums: updates of which it is the largest
	for step := range rounds {
		all := t.sampler.At(step)
		for _, which := range all {
			turns[which]++
		}
		sums[all[0]]++
	}
	world, own := t.world(), r
	if world.Size() > 1 {
		p.Ranks, p.Hosts, own.Batch = world.Size(), len(world.Hosts()), t.share.Images(r.Batch)
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
		sum     float64
		compile time.Duration
		took    time.Duration
	}
	for n, i := range order {
		arch := t.archs[i]
		a := PlannedArch{Arch: arch.String(), Params: t.Space.Model.Params(arch), Turns: float64(turns[i]) / rounds}
		larger := macs(i) / macs(order[max(n-1, 0)])
		late, err := world.Any("a measurement", n > 0 && within > 0 && time.Now().Add(time.Duration(larger*float64(last.took))).After(until))
		if err != nil {
			return p, err
		}
		if late {
			a.Estimated, a.Rate = true, last.rate*macs(last.arch)/macs(i)
			more := float64(a.Params) / float64(p.Archs[last.arch].Params)
			a.Sum, a.HostBytes = last.sum*more, int64(more*float64(p.Archs[last.arch].HostBytes))
			p.Compile += last.compile.Seconds()
		} else {
			t.Log(fmt.Sprintf("measuring %d/%d: %s", n+1, len(t.archs), arch))
			began := time.Now()
			speed, err := trainstep.Measure(ctx, t.Engine, t.Space, arch, own, planSteps, until)
			if err != nil {
				return p, err
			}
			if a.Rate, err = t.rateOfAll(float64(own.Batch) / slices.Min(speed.Steps).Seconds()); err != nil {
				return p, err
			}
			if p.Ranks > 1 {
				sums, err := trainstep.MeasureSums(t.Engine, t.net, arch, r, t.share, planSteps)
				if err != nil {
					return p, err
				}
				a.Sum, a.HostBytes = sums.Took.Seconds(), sums.HostBytes
			}
			p.Compile += speed.Compile.Seconds()
			last.arch, last.rate, last.sum, last.compile, last.took = i, a.Rate, a.Sum, speed.Compile, time.Since(began)
		}
		p.Archs[i] = a
		between := float64(t.steps) * float64(sums[i]) / rounds * a.Sum
		p.Seconds += float64(t.steps)*a.Turns*float64(p.Images)/a.Rate + between
		p.Sums += between
	}
	p.PeakBytes = machine.PeakBytes()
	return p, nil
}

// rateOfAll is what all ranks make together, each as fast as the slowest: they wait for it at each update.
func (t *trainer) rateOfAll(own float64) (float64, error) {
	w := t.world()
	if w.Size() == 1 {
		return own, nil
	}
	all := make([]float32, w.Size())
	if err := w.GatherValues("a measurement", []float32{float32(own)}, all); err != nil {
		return 0, err
	}
	return float64(slices.Min(all)) * float64(w.Size()), nil
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
