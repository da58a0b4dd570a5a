// Package data turns image sources into batches.
//
//	Open(SRC) ─► Dataset {Train, HeldOut, Test} ─► Loader ─► Batch [N, C, H, W]
//
// SRC is fashion-mnist, which fetches itself, or KIND:PATH. Which images a
// batch holds and how each is cropped and flipped is a pure function of (seed,
// epoch, index): any number of workers gives the same bytes, and a run can
// start in the middle of an epoch. The held-out split is cut from train by the
// seed; the test split is never part of it.
package data
