// Package serve answers requests over HTTP with a family of exported models.
//
//	folder ─► Family ─ choose ─► model ─► queue ─► batch ─► logits
//	           ▲                                      │
//	  reload ──┘                       latency ◄──────┘
//
// A request names a model, or how long it may take: then the most accurate model that is
// expected to answer within that time does. What is expected comes from measurements, made when
// a model is opened and kept up to date by every batch that it computes, and from what waits
// before the request. Requests that wait for one model are computed together.
//
// # What it promises
//
//   - A request is answered, or refused in a sentence: nothing waits without a bound, of
//     bytes, pixels, places in a queue or time.
//   - A folder that changes is read anew without a request dropped: those in flight end
//     on the models that they began with.
//   - Stopping finishes what it began.
package serve
