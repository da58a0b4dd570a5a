package main

import "prenas/internal/input"

// Inputs of stages are flags of the same names here, so errors name them as flags.
func init() { input.Spell(func(n input.Name) string { return "--" + string(n) }) }
