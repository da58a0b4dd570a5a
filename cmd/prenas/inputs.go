package main

import "prenas/internal/input"

// What stages are given comes in flags of the same names.
func init() { input.Spell(func(n input.Name) string { return "--" + string(n) }) }
