package main

import (
	"github.com/spf13/pflag"

	"prenas/internal/engine"
)

// precision is the value of --precision: the precision of products.
type precision engine.Precision

func (p *precision) String() string { return string(*p) }

func (p *precision) Set(name string) error {
	parsed, err := engine.ParsePrecision(name)
	*p = precision(parsed)
	return err
}

func (p *precision) Type() string { return "float32|bf16|auto" }

// addPrecision adds --precision. Its default is the value that p has.
func addPrecision(flags *pflag.FlagSet, p *engine.Precision, instead string) {
	flags.Var((*precision)(p), "precision", "numbers that products are computed in: float32, bf16, or auto, the faster one here"+instead)
}
