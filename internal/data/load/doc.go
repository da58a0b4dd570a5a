// Package load makes batches of a split, ahead of their use.
//
// Which images a batch holds and how each is cropped and flipped is a pure function of (seed,
// epoch, index): any number of workers gives the same bytes, and a run can start in the middle of
// an epoch. Several ranks take a Share of the batches each.
package load
