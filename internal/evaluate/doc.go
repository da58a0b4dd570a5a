// Package evaluate measures the accuracy that each architecture reaches with its slice of the
// supernet's weights.
//
// Every architecture has one program, compiled for a fixed batch. The last batch of a split is filled
// up with images that are not counted, so no image is left out and none is counted twice. Accuracies
// are exact fractions. The same weights and images give the same results.json, but for its speeds.
package evaluate
