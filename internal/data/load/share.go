package load

import (
	"fmt"
	"prenas/internal/printable"
)

// Share is what one of several ranks takes of the batches of a split. Update batches after
// update batches, it takes a run of Count of them from First on: whole, or one of Slices equal
// parts of each. The zero value takes all.
//
// Slice s of n of a batch is run s of 2n equal runs of its images and the run that mirrors it:
// what is mixed, image i with image -1-i, is in one slice.
type Share struct {
	Update, First, Count int // batches
	Slices, Slice        int // of a batch; 0 slices: 1
}

// NewShare is the share of a rank of the batches of updates of accumulate batches each. Whole
// batches are shared where there are enough; else their images are.
func NewShare(rank, ranks, accumulate, batch int) (Share, error) {
	switch slices := ranks / accumulate; {
	case accumulate%ranks == 0:
		own := accumulate / ranks
		return Share{Update: accumulate, First: rank * own, Count: own, Slices: 1}, nil
	case ranks%accumulate != 0:
		return Share{}, fmt.Errorf("%s cannot share updates of %s evenly: take a number of ranks that divides accumulate, %d, or a multiple of it", printable.Count(ranks, "rank"), printable.Count(accumulate, "batch"), accumulate)
	case batch%(2*slices) != 0:
		return Share{}, fmt.Errorf("%s cannot share batches of %s: batch must be a multiple of %d", printable.Count(ranks, "rank"), printable.Count(batch, "image"), 2*slices)
	default:
		return Share{Update: accumulate, First: rank / slices, Count: 1, Slices: slices, Slice: rank % slices}, nil
	}
}

// Every is the share of a rank where each is by itself, as in an evaluation.
func Every(rank, ranks int) Share { return Share{Update: ranks, First: rank, Count: 1} }

// All tells whether the share is the whole.
func (s Share) All() bool { return s.Count == s.Update && s.Slices <= 1 }

// Images of a batch of so many that are in the share.
func (s Share) Images(batch int) int { return batch / max(s.Slices, 1) }

// Place in a batch of image number k of those in the share.
func (s Share) Place(k, batch int) int {
	if s.Slices <= 1 {
		return k
	}
	half := batch / s.Slices / 2
	if k < half {
		return s.Slice*half + k
	}
	return batch - (s.Slice+1)*half + k - half
}

// Batch is the number, among all, of batch number k of those in the share.
func (s Share) Batch(k int) int {
	if s.Update == 0 {
		return k
	}
	return k/s.Count*s.Update + s.First + k%s.Count
}

// Batches are how many of all batches are in the share.
func (s Share) Batches(all int) int {
	if s.Update == 0 {
		return all
	}
	return all/s.Update*s.Count + max(0, min(s.Count, all%s.Update-s.First))
}
