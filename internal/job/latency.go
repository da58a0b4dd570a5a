package job

import (
	"context"
	"fmt"

	"prenas/internal/engine"
	"prenas/internal/input"
	"prenas/internal/latency"
	"prenas/internal/printable"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// LatencyOptions of Latency.
type LatencyOptions struct {
	Engine   *engine.Engine
	Space    *space.Space
	Batch    int
	Again    bool   // measure anew even if there is a measurement in the cache
	Check    int    // number of whole architectures to compare the sums of parts with; 0: none
	Seed     uint64 // of the architectures to check
	Out      string // file for the measurement, for use on another machine; empty: none
	Log      func(string)
	Progress func(done, total int)
}

// LatencyResult is what the parts of a space take on this machine.
type LatencyResult struct {
	File    string           `json:"file"`
	Profile *latency.Profile `json:"profile"`
	Checked *latency.Checked `json:"checked,omitempty"`
}

// Latency measures how long the parts of a space take, or reads that from the user's cache folder.
// It may also measure whole architectures, to see how far the sums of parts are off.
func Latency(ctx context.Context, o LatencyOptions) (r LatencyResult, err error) {
	dir, err := latency.Dir()
	if err != nil {
		return r, err
	}
	if o.Out != "" {
		release, err := holdFile(input.Out, o.Out)
		if err != nil {
			return r, err
		}
		defer release()
	}
	if r.Profile, r.File, err = latency.Cached(ctx, o.Engine, o.Space, o.Batch, dir, o.Again, o.Progress); err != nil {
		return r, err
	}
	if o.Out != "" {
		if err := r.Profile.Write(o.Out); err != nil {
			return r, err
		}
	}
	if o.Check == 0 {
		return r, nil
	}
	o.Log(fmt.Sprintf("measuring %s", printable.Count(o.Check, "whole architecture")))
	checked, err := r.Profile.Check(ctx, o.Engine, o.Space, latency.Draw(o.Space, o.Check, o.Seed))
	r.Checked = &checked
	return r, err
}

// latencyCost is the measured latency as a cost. Its budgets are in milliseconds and its table is
// in nanoseconds. on gets what it was measured on.
func (o SearchOptions) latencyCost(ctx context.Context, on map[string]string) (search.Cost, error) {
	r, err := o.latency(ctx)
	if err != nil {
		return search.Cost{}, err
	}
	o.Log(fmt.Sprintf("latency from %s: %s", r.File, r.Profile))
	on["latency"] = fmt.Sprintf("sums of measured parts, %s", r.Profile)
	const nano = 1e6
	p := r.Profile
	return search.Cost{Name: "latency", Unit: nano, Table: search.ViTParts{
		Trunk: func(e int) float64 { return nano * p.Trunk(e) },
		Block: func(e, _ int) float64 { return nano * p.Block(e) },
		Heads: func(e, _, h int) float64 { return nano * p.Heads(e, h) },
		MLP:   func(e, _ int, ratio float64) float64 { return nano * p.MLP(e, ratio) },
	}.Table(o.Space)}, nil
}

// latency is how long the parts of the space take: on this machine, or on that of a file.
func (o SearchOptions) latency(ctx context.Context) (r LatencyResult, err error) {
	if o.LatencyProfile == "" {
		return Latency(ctx, LatencyOptions{Engine: o.Engine, Space: o.Space, Batch: max(o.LatencyBatch, 1), Progress: o.Measuring})
	}
	r.File = o.LatencyProfile
	if r.Profile, err = latency.Read(o.LatencyProfile, o.Space); err != nil {
		err = fmt.Errorf("%w: %w", input.LatencyProfile, err)
	}
	return r, err
}
