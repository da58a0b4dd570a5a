// Package latency measures how long one image, or a batch, takes on this
// machine, as parts that add up to any architecture of a space.
//
//	latency(a) = trunk(e) + Σ over layers: block(e) + heads(e, h) + mlp(e, r)
//
// The parts are differences between whole models of few layers, compiled by
// the engine as any model is, so that what the compiler fuses is in them. For
// each embedding dim e, with the smallest h and r unless said otherwise and K
// layers ([Profile.Layers]):
//
//	block    = (time of K layers - time of 1 layer) / (K - 1)
//	trunk    =  time of 1 layer - block
//	heads(h) = (time of K layers with h heads - time of K layers) / K
//	mlp(r)   = (time of K layers with ratio r - time of K layers) / K
//
// The models of a dim are timed in turns, so that a slow moment of the machine
// hits all of them, and the least of many times counts: what disturbs a
// measurement only ever adds to it.
//
// A measurement is kept in the user's cache folder, by the machine, the engine,
// the model and the batch, because a budget must mean the same in the next
// search. [Check] holds predictions against whole models of full depth.
package latency
