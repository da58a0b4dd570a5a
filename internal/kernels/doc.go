// Package kernels has functions in C that XLA's programs for a CPU call, where its own
// code is slow: depthwise convolutions (depthwise.c), products of matrices (product.c), attention
// (attention.c), LayerNorm and GELU (rows.c), batch norm (batchnorm.c) and the optimiser's update (adamw.c). These files say how and why.
//
// Register makes them known to a plug-in; a program then calls them by name (package engine, call.go). They need
// Linux and cgo. Elsewhere, and where the plug-in takes no functions, programs are
// made of XLA's operations alone.
package kernels
