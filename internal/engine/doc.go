// Package engine is the one door to GoMLX and XLA.
//
// It finds a PJRT plug-in or falls back to pure Go (plugin.go), compiles graphs
// into programs and turns the panics of graph building into errors
// (program.go), and replaces gradient rules that are wrong for us (gradients.go).
// The memory of a CPU's programs comes from malloc; whose that is, the program chooses (allocator.go).
//
//	Open ─► Engine ─ Compile(shapes, build) ─► Program ─ Run(tensors) ─► tensors
//
// Everything else in prenas builds graphs; nothing else opens a backend.
package engine
