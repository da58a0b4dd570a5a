// Package search picks architectures from scores, on plain tables: it knows
// spaces and numbers, no engine and no files.
//
// The idea. Every architecture's weights are corner slices of the supernet's,
// so the saliency of an architecture is a sum of sums over corners, and the few
// corners that a space can ask for are summed once:
//
//	weights, gradients ──► Sums ──► Scores: any architecture, a few additions
//	                         │
//	                         └────► BlockScores: which layers deserve more
//
// [Run] does the whole search. Method Preferred is the original's: of all
// architectures with equally many layers at each choice (isomers) it looks at
// the one whose larger choices go to the layers of the best block scores, and
// takes the best of these for each interval of parameter counts. Method Exact
// finds the best of the whole space instead. Evolution and Random are the
// baselines.
//
//	sums, err := search.NewSums(s, weights, gradients, false)
//	candidates, report, err := search.RunSums(s, sums, search.Options{})
//
// Everything is deterministic: sums are float64, rounded so that no order of
// addition changes them, ties go to what comes first (lower layers, earlier
// architectures in the original's order), and what is random is drawn from
// Options.Seed.
package search
