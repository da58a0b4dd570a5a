// Package trainstep does the updates of a training: programs for one architecture, for several
// batches or architectures in one update, and for any architecture of a space by masks; the
// optimisers, the mixing of images, distillation, and the state that all of them change.
//
// A tensor that takes part in no computation of an update is not touched by it: no decay, no
// moments, and its count of updates stands still. An update whose loss or gradient is not finite
// changes nothing. All that is random is drawn from (seed, purpose, step, index).
package trainstep
