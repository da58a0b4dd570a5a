// Package fetch brings data sets from elsewhere, and unpacks them: downloads that go on where a
// connection breaks, and a cache of shards as plain tars, which refuses what unpacks to far more
// than images do.
package fetch
