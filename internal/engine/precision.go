package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
)

// Precision is what the operands of a network's products are cast to. All else is
// float32: weights and other state, sums, norms, activation functions.
type Precision string

const (
	Float32  Precision = "float32"
	BFloat16 Precision = "bf16" // 8 bits of mantissa, the range of float32
	// AutoPrecision is the faster one on a machine; Engine.Resolve says which.
	AutoPrecision Precision = "auto"
)

var precisions = []string{string(Float32), string(BFloat16), string(AutoPrecision)}

// ParsePrecision is the precision of a name.
func ParsePrecision(name string) (Precision, error) {
	if slices.Contains(precisions, name) {
		return Precision(name), nil
	}
	return "", fmt.Errorf("precision is %q, it must be one of %s", name, strings.Join(precisions, ", "))
}

// Operands is the type that operands are cast to.
func (p Precision) Operands() dtypes.DType {
	if p == BFloat16 {
		return dtypes.BFloat16
	}
	return dtypes.Float32
}

// bfloat16Gain is how much faster bfloat16 must be to be worth its rounding.
const bfloat16Gain = 1.2

// Resolve is p, or, where that is auto, what is faster on this machine: log then gets a
// line that says so. An empty precision is float32.
func (e *Engine) Resolve(ctx context.Context, p Precision, log func(string)) (Precision, error) {
	switch p {
	case "":
		return Float32, nil
	case AutoPrecision:
	default:
		return p, nil
	}
	gain, err := e.gainOfBFloat16(ctx)
	if err != nil {
		return "", fmt.Errorf("precision auto: %w", err)
	}
	chosen := Float32
	if gain >= bfloat16Gain {
		chosen = BFloat16
	}
	log(fmt.Sprintf("precision %s: products in bf16 run at %.1f times the speed of float32 here", chosen, gain))
	return chosen, nil
}

// gainOfBFloat16 measures how many times faster a trainingProduct becomes when its operands
// are cast to bfloat16. It takes about half a second. The pure-Go backend gains nothing, and is
// not measured.
func (e *Engine) gainOfBFloat16(ctx context.Context) (float64, error) {
	if e.plugin == "" {
		return 1, nil
	}
	p, plain, err := e.grown(ctx, trainingProduct(dtypes.Float32), false)
	if err != nil {
		return 0, err
	}
	rounding := trainingProduct(dtypes.BFloat16)
	rounding.rows = p.rows
	cast, err := e.timeProduct(ctx, rounding)
	if err != nil {
		return 0, err
	}
	return plain / cast, nil
}
