// Package rundir is the folder of a run: its manifest, checkpoints, metrics, statistics and
// TensorBoard's events, how each is written and how it is read.
//
//   - A file exists whole or not at all. What is appended to is read up to its last whole line.
//   - Of checkpoints the newest that is whole is loaded. What was passed over is told.
//   - What earlier versions wrote is read.
//
// It computes nothing: internal/trainstep makes the state that a checkpoint keeps, and
// internal/train decides when it is kept.
package rundir
