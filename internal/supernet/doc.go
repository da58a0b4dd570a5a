// Package supernet builds the forward graph of any architecture of a search
// space over one set of shared weights.
//
// The weights have the size of the supernet. An architecture uses a slice of
// each: slices are nested, always from index 0, so a small architecture's
// weights lie inside those of every larger one:
//
//	          embed_dim ──►                      a block of the ViT
//	        ┌──────────┬─────┐
//	 rows   │ used by  │     │        x ─┬─ norm ─ qkv ─ attention ─ proj ─┬─►
//	(heads, │ the arch │     │           └───────── drop path ─────────────┘
//	hidden) ├──────────┘     │        x ─┬─ norm ─ fc1 ─ GELU ─ fc2 ───────┬─►
//	  │     │   supernet     │           └───────── drop path ─────────────┘
//	  ▼     └────────────────┘
//
// A convolutional network's blocks (see conv) slice hidden features in the same
// way, and the middle of depthwise kernels. Its batch norms have statistics of
// each architecture's own ([Stats]).
//
// Slices are static: the graph of an architecture has no masks and computes
// nothing that the architecture does not use. Names and layouts of the weights
// are those of the published PreNAS code ([out, in]), so its checkpoints come
// in as they are. Blocks beyond an architecture's depth are left out.
//
// The package promises: logits equal to the original's (testdata/micro) and to
// PyTorch's (testdata/conv), the
// same weights for the same seed, and an error, never a panic, for weights
// that do not fit.
package supernet
