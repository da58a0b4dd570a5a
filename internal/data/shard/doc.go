// Package shard opens files that hold many images: tars in webdataset's form or of folders, and
// Parquet in Hugging Face's image layout, by patterns of names or addresses. What cannot be read at
// any place, as it is compressed or elsewhere, is laid into the cache as a plain tar first.
package shard
