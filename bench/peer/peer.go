// Package peer holds the programs in PyTorch that benchmarks run beside ours.
package peer

import _ "embed"

// TrainStep measures a train step; its first lines say what it reads and writes.
//
//go:embed train_step.py
var TrainStep string
