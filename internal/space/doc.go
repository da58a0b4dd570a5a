// Package space describes search spaces and the architectures in them.
//
// A space is lists of choices for vision transformers in the style of
// AutoFormer: one embed_dim and depth for the whole network, num_heads and
// mlp_ratio for each layer. The supernet is a size, at least that of the
// largest choices, whose weights every architecture shares.
//
//	Space  = Supernet + choices + Model (image, patch, classes, …) + Interval
//	Arch   = embed_dim, num_heads per layer, mlp_ratio per layer
//	         "e192-h4x5_3x7-r4x5_3.5x2_4x5": its text form, stable and unique
//
// The package counts parameters and MACs, reads spaces from YAML, and reads
// and writes candidates files. It knows no other package that does work.
package space
