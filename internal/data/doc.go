// Package data says what a data set is: labelled images in splits, which of them cannot be read,
// and what was left out.
//
//	source.Open(SRC) ─► Dataset {Train, HeldOut, Test} ─► load.Loader ─► batches [N, C, H, W]
//
// The rooms below it read: codec makes pixels of a file's bytes, disk finds and reads files. Those
// above it know where images are: layout which folders are splits, fetch what is elsewhere, shard
// and pack the files that hold many, source all kinds by name. load makes batches, inspect
// counts and looks.
//
// The held-out split is cut from train by the seed; the test split is never part of it.
package data
