package train

import (
	"context"

	"prenas/internal/engine"
	"prenas/internal/recipe"
)

// precision of a run: the recipe's, or, where that is auto, what is faster on this
// machine. A run that is resumed keeps what it began with, on any machine.
func (o Options) precision(ctx context.Context) (engine.Precision, error) {
	if precisionOf(o.Recipe) == engine.AutoPrecision && o.Resume {
		if m, err := ReadManifest(o.FS, o.Out); err == nil {
			return precisionOf(m.Recipe), nil
		}
	}
	return o.Engine.Resolve(ctx, precisionOf(o.Recipe), o.Log)
}

// precisionOf the products of a recipe's steps.
func precisionOf(r recipe.Recipe) engine.Precision { return engine.Precision(r.Precision) }
