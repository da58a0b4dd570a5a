package train

import (
	"context"

	"prenas/internal/engine"
	"prenas/internal/rundir"
	"prenas/internal/trainstep"
)

// precision of a run: the recipe's, or, where that is auto, what is faster on this
// machine. A run that is resumed keeps what it began with, on any machine.
func (o Options) precision(ctx context.Context) (engine.Precision, error) {
	if trainstep.Precision(o.Recipe) == engine.AutoPrecision && o.Resume {
		if m, err := rundir.ReadManifest(o.FS, o.Out); err == nil {
			return trainstep.Precision(m.Recipe), nil
		}
	}
	return o.Engine.Resolve(ctx, trainstep.Precision(o.Recipe), o.Log)
}
