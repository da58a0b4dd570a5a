package train

import (
	"context"

	"prenas/internal/engine"
)

// precision of a run: the recipe's, or, where that is auto, what is faster on this
// machine. A run that is resumed keeps what it began with, on any machine.
func (o Options) precision(ctx context.Context) (engine.Precision, error) {
	if o.Recipe.Precision == engine.AutoPrecision && o.Resume {
		if m, err := ReadManifest(o.FS, o.Out); err == nil {
			return m.Recipe.Precision, nil
		}
	}
	return o.Engine.Resolve(ctx, o.Recipe.Precision, o.Log)
}
