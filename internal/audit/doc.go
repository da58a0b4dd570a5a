// Package audit asks how good a proxy is: does its order of architectures agree
// with the order of what they reach when they are trained?
//
// An audit draws architectures of a space, uniformly within intervals of
// parameters, trains each from scratch from several seeds (or takes a
// supernet's weights), and keeps what they reached in a benchmark file, which
// is open and small: whoever has a new proxy correlates it without training
// anything.
//
//	space ─► architectures ─► trained, seed by seed ─► benchmark file
//	                                                        │
//	proxies' scores at initialisation ──────────────────────┴─► correlations
//
// Correlations are Kendall's tau-b and Spearman's rho. A proxy that only
// counts parameters looks good over a wide range of sizes and says nothing
// about the choice PreNAS makes, which is within an interval of sizes; so both
// are reported, beside parameters, MACs, and what one more training run would
// say. Confidence intervals are by bootstrap over architectures and seeds.
//
// The package promises: the same seed gives the same architectures and, on the
// same engine, the same benchmark, cut or uncut; a benchmark file of another
// audit is refused, not overwritten.
package audit
