// Package train trains the preferred architectures of one supernet.
//
//	recipe.yaml ─┐             per step: which architecture, lr, mix, drop-path
//	candidates ──┼─► plan ──────────────────────────┐
//	seed ────────┘                                  ▼
//	data ───────────────► batch ───────► one compiled program per architecture
//	                                       weights, m, v, counts ─► the same, updated
//	                                                │
//	                          metrics.jsonl ◄───────┴──────► step-N.safetensors
//
// # What it promises
//
//   - A step trains exactly one architecture (or, with the sandwich sampler, the
//     ones it names) on slices of the shared weights. A tensor that takes part in
//     no computation of a step is not touched by it: no decay, no moments, and its
//     step count stands still.
//   - Everything random in a step is drawn from (seed, purpose, step, index). The
//     step number is the whole random state, so a run that was cut and resumed ends
//     with the same bytes, weights and metrics, as one that was not.
//   - A step whose loss or gradient is not finite changes nothing, on any device.
//   - A checkpoint exists whole or not at all, and loading falls back to the newest
//     one that is whole.
//   - The best checkpoint is chosen on a held-out part of the training images, never
//     on the test images.
package train
