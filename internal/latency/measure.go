package latency

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// Models are timed for at most rounds turns; after enough turns, a group of
// models that has taken its time is done.
const (
	rounds   = 60
	enough   = 8
	groupFor = 12 * time.Second
)

// measure is the latency of each architecture on a batch, in milliseconds: the
// least of many runs, taken in turns.
func measure(ctx context.Context, e *engine.Engine, m space.Model, archs []space.Arch, batch int) ([]float64, error) {
	var models []*model
	defer func() {
		for _, m := range models {
			m.program.Close()
		}
	}()
	best := make([]float64, len(archs))
	for i, a := range archs {
		compiled, err := compile(e, m, a, batch)
		if err != nil {
			return nil, err
		}
		models, best[i] = append(models, compiled), math.Inf(1)
	}
	began := time.Now()
	for round := 0; round < rounds && (round < enough || time.Since(began) < groupFor); round++ {
		for i, m := range models {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			ms, err := m.run()
			if err != nil {
				return nil, err
			}
			if round > 0 { // the first run also takes the machine's memory
				best[i] = min(best[i], ms)
			}
		}
	}
	return best, nil
}

// model is one architecture with weights of its own, ready to run.
type model struct {
	program *engine.Program
	args    []*tensors.Tensor
}

func compile(e *engine.Engine, m space.Model, a space.Arch, batch int) (*model, error) {
	net, stats := supernet.Standalone(m, a), supernet.Stats(m, a)
	bound, compiled := net.Bind(), &model{}
	for _, p := range slices.Concat(net.Params(), stats) {
		t, err := e.Upload(p.Init(0))
		if err != nil {
			return nil, fmt.Errorf("%w: weight %s: %w", ErrLatency, p.Name, err)
		}
		compiled.args = append(compiled.args, t)
	}
	images := shapes.Make(dtypes.Float32, batch, m.Channels, m.ImageSize, m.ImageSize)
	compiled.args = append(compiled.args, tensors.FromShape(images))
	inputs := append(slices.Concat(bound.Shapes(), supernet.StatShapes(m, a)), images)
	var err error
	compiled.program, err = e.Compile("latency "+a.String(), inputs, func(in []*graph.Node) []*graph.Node {
		weights, rest := bound.Nodes(in)
		return []*graph.Node{net.Logits(weights, rest[len(stats)], supernet.Forward{Arch: a, Stats: rest[:len(stats)]})}
	})
	return compiled, err
}

// run takes a batch through the model, up to logits that the host can read.
func (m *model) run() (ms float64, err error) {
	began := time.Now()
	out, err := m.program.Run(m.args)
	if err != nil {
		return 0, err
	}
	if _, err := engine.Download(out[0]); err != nil {
		return 0, err
	}
	ms = float64(time.Since(began).Nanoseconds()) / 1e6
	return ms, out[0].FinalizeAll()
}
