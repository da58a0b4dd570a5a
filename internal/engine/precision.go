package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

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
// line that says so, and why. Auto is the same at each start on a machine: it goes by what
// was measured there once, or, where that cannot be kept, by the processor. An empty
// precision is float32.
func (e *Engine) Resolve(ctx context.Context, p Precision, log func(string)) (Precision, error) {
	switch p {
	case "":
		return Float32, nil
	case AutoPrecision:
	default:
		return p, nil
	}
	if e.plugin == "" {
		log("precision float32: bf16 gains nothing in pure Go")
		return Float32, nil
	}
	measured, err := e.profile(ctx, log)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		chosen := Float32
		if hasBFloat16(instructions()) {
			chosen = BFloat16
		}
		log(fmt.Sprintf("warning: precision %s, by the processor alone (%s): what bf16 gains here cannot be kept: %v", chosen, instructions(), err))
		return chosen, nil
	}
	chosen, why := Float32, ", too little for its rounding"
	if measured.Gain >= bfloat16Gain {
		chosen, why = BFloat16, ""
	}
	log(fmt.Sprintf("precision %s: products in bf16 ran at %.2g times the speed of float32%s, when this machine was measured (%s, in %s)",
		chosen, measured.Gain, why, measured.Time.Format(time.DateOnly), measured.path))
	return chosen, nil
}

// hasBFloat16 tells whether a processor multiplies faster in bf16: by AMX, or by vectors on one that has no AMX. (On those that have it
// vectors of bf16 are no faster than those of float32.)
func hasBFloat16(instructions string) bool {
	return !strings.HasSuffix(instructions, " refused") && (strings.Contains(instructions, " bf16") || strings.Contains(instructions, " amx"))
}

// gainOfBFloat16 measures how many times faster a trainingProduct becomes when its operands
// are cast to bfloat16: the best of several times of each, in turn, so that what else the machine
// does is in neither. It takes seconds.
func (e *Engine) gainOfBFloat16(ctx context.Context) (float64, error) {
	const turns = 3
	p, plain, err := e.grown(ctx, trainingProduct(dtypes.Float32), false)
	if err != nil {
		return 0, err
	}
	rounding, cast := trainingProduct(dtypes.BFloat16), math.Inf(1)
	rounding.rows = p.rows
	for range turns {
		again, err := e.timeProduct(ctx, p)
		if err != nil {
			return 0, err
		}
		rounded, err := e.timeProduct(ctx, rounding)
		if err != nil {
			return 0, err
		}
		plain, cast = min(plain, again), min(cast, rounded)
	}
	return plain / cast, nil
}
