// Package evaluate measures how well each architecture does with its slice of the
// supernet's weights.
//
// Every architecture has one program, compiled for a fixed batch. The last batch of a
// split is filled up with images that do not count, so no image is left out and none
// counts twice. Accuracies are exact fractions of whole images: the same weights and
// images always give the same results.json but for its speeds.
package evaluate
