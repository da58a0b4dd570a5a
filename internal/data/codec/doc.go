// Package codec makes pixels of an image file's bytes: of any format that picture knows, upright,
// no larger than an image may be, and within the memory that all workers of a process share.
//
//	DecodePart(text, choose, use)   the part that choose wants; its pixels are held until use returns
//	Decode(text), Size(text)        all of it; its size, from the header alone
//	Hold(size, read), HoldText      the memory of files that are read
//	Named, Sniffed                  whether a file is an image, by its name or by how it begins
package codec

import "errors"

// ErrFormat: a file that is not of its kind, or damaged.
var ErrFormat = errors.New("malformed data file")
