package train

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
)

// Precisions of a recipe. State, sums and norms are float32 in all of them.
const (
	float32Precision = "float32"
	bf16Precision    = "bf16"
	autoPrecision    = "auto"
)

// WithPrecision is the recipe with another precision.
func (r Recipe) WithPrecision(name string) (Recipe, error) {
	r.Precision = name
	return r, checkKey(r, "Precision")
}

// operands is what a train step casts the operands of its products with weights to.
func (r Recipe) operands() dtypes.DType {
	if r.Precision == bf16Precision {
		return dtypes.BFloat16
	}
	return dtypes.Float32
}

// autoGain is how much faster bfloat16 must be to be worth its rounding.
const autoGain = 1.2

// precision of a run: the recipe's, or, where that is auto, what is faster on this
// machine. A run that is resumed keeps what it began with, on any machine.
func (o Options) precision(ctx context.Context) (string, error) {
	if o.Recipe.Precision != autoPrecision {
		return o.Recipe.Precision, nil
	}
	if o.Resume {
		if m, err := ReadManifest(o.FS, o.Out); err == nil {
			return m.Recipe.Precision, nil
		}
	}
	gain, err := o.Engine.BFloat16Gain(ctx)
	if err != nil {
		return "", fmt.Errorf("precision auto: %w", err)
	}
	chosen := float32Precision
	if gain >= autoGain {
		chosen = bf16Precision
	}
	o.Log(fmt.Sprintf("precision %s: products in bf16 run at %.1f times the speed of float32 here", chosen, gain))
	return chosen, nil
}
