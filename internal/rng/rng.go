// Package rng draws all randomness of prenas from (seed, purpose, indices).
//
// A stream is a pure function of its name, so the order in which streams are
// opened, and by how many workers, never changes a result, and a resumed run
// needs no saved generator state: it opens the same streams again.
package rng

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// New opens the stream named by seed, purpose and indices (an epoch, a step,
// an image). Streams of different names are independent: the name is hashed
// with SHA-256 into the 256-bit key of a ChaCha8 generator.
func New(seed uint64, purpose string, index ...uint64) *rand.Rand {
	// The purpose's length stands before it, so no two names share a hash input.
	name := make([]byte, 0, 16+len(purpose)+8*len(index))
	name = binary.LittleEndian.AppendUint64(name, seed)
	name = binary.LittleEndian.AppendUint64(name, uint64(len(purpose)))
	name = append(name, purpose...)
	for _, i := range index {
		name = binary.LittleEndian.AppendUint64(name, i)
	}
	return rand.New(rand.NewChaCha8(sha256.Sum256(name)))
}
