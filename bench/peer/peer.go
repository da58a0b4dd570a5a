// Package peer holds the programs in PyTorch that benchmarks run beside ours. Each
// program's first lines say what it reads and writes.
package peer

import _ "embed"

var (
	//go:embed vit.py
	vit string
	//go:embed vit_fused.py
	fusedViT string
	//go:embed conv.py
	conv string
	//go:embed loop.py
	loop string
)

// ViT, FusedViT and Conv measure train steps and evaluations: of vision transformers as the original writes them and as PyTorch
// runs them fastest, and of convolutional networks.
var ViT, FusedViT, Conv = vit + loop, fusedViT + loop, conv + loop
