// Package ahead computes values on several goroutines ahead of their use and yields them in
// order, so that any number of workers gives the same sequence:
//
//	for item, result := range ahead.Map(ctx, items, workers, queue, do) { ... }
package ahead
