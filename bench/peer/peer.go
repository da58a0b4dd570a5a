// Package peer holds the programs in PyTorch that benchmarks run beside ours. Each
// program's first lines say what it reads and writes.
package peer

import _ "embed"

var (
	//go:embed vit.py
	vit string
	//go:embed conv.py
	conv string
	//go:embed loop.py
	loop string
)

// ViT and Conv measure train steps and evaluations of the two families.
var ViT, Conv = vit + loop, conv + loop
