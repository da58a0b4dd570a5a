// Package space holds what can be searched: spaces, architectures, their text
// form, and the counting of parameters and multiply-accumulates. It is plain
// Go on plain values and knows no other room but the one that writes files.
//
// A space is a supernet (the size of the shared weights) and four lists of
// choices. An architecture picks one embedding dim and one depth, and for each
// layer a number of heads and an MLP ratio:
//
//	Space "tiny"                     one architecture of it
//	EMBED_DIM  192 216 240           e216-h4x5_3x3_4x2_3_4-r4_3.5_4_3.5x9
//	DEPTH      12 13 14               │    │                │
//	NUM_HEADS  3 4                    │    │                └ MLP ratio of each layer
//	MLP_RATIO  3.5 4                  │    └ heads of each layer: 4 4 4 4 4 3 3 3 4 4 3 4
//	                                  └ embedding dim; the depth is the number of layers
//
// The text form is unique: [ParseArch] takes exactly what [Arch.String] gives,
// so an architecture has one name in every file and on every command line.
//
// Every reader here is strict. A key that is not known, a value of the wrong
// kind or out of range, and a space that no architecture can be built from are
// errors that name the file and, for YAML, the line.
package space
