package codec

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"

	"prenas/internal/machine"
)

// pixels may take far more memory than the file that they come from: some kilobytes of PNG
// become gigabytes. All workers of a process share one budget of memory for them, so that
// any number of them holds no more than that: who would exceed it waits for others to
// finish theirs. Where one image alone needs more, it is refused.
var pixels = sync.OnceValue(func() *budget {
	have := machine.Memory()
	return newBudget(max(have/8, min(have/2, MaxPixels*bytesOf("png"))))
})

// texts is another such budget, of the bytes of files that images are decoded from. Who holds
// some of it may wait for pixels; nobody who holds pixels waits for it.
var texts = sync.OnceValue(func() *budget {
	have := machine.Memory()
	return newBudget(max(have/16, min(have/4, 4*MaxBytes)))
})

type budget struct {
	bytes int64
	free  *semaphore.Weighted
}

func newBudget(bytes int64) *budget { return &budget{bytes, semaphore.NewWeighted(bytes)} }

// bytesOf is the most memory that a pixel of an image of a format takes: as it is decoded, and
// as RGB beside that.
func bytesOf(format string) int64 {
	const rgb = 3
	switch format {
	case "jpeg": // three planes, and room for a fourth
		return 4 + rgb
	case "tiff": // a strip may be all of it, of 16 bits of eight channels, of which four are kept
		return 16 + 4 + 2*rgb
	}
	return 8 + rgb // 16 bits of four channels
}

// take waits for memory for an image of so many bytes. What it returns gives it back.
func (b *budget) take(width, height int, format string) (release func(), err error) {
	need := int64(width) * int64(height) * bytesOf(format)
	if need > b.bytes {
		return nil, fmt.Errorf("%w: its %dx%d pixels take up to %s to decode, and images together may take %s of this machine's memory: make it smaller",
			machine.ErrMemory, width, height, machine.Bytes(float64(need)), machine.Bytes(float64(b.bytes)))
	}
	return b.hold(need)
}

// takeBytes is take of a text of so many bytes.
func (b *budget) takeBytes(need int64) (release func(), err error) {
	if need > b.bytes {
		return nil, fmt.Errorf("%w: it takes %s, and files that are read together may take %s of this machine's memory",
			machine.ErrMemory, machine.Bytes(float64(need)), machine.Bytes(float64(b.bytes)))
	}
	return b.hold(need)
}

func (b *budget) hold(need int64) (release func(), err error) {
	if err := b.free.Acquire(context.Background(), need); err != nil {
		return nil, err
	}
	return func() {
		if need > b.bytes/8 {
			runtime.GC() // what was large is free before another takes its place
		}
		b.free.Release(need)
	}, nil
}

// Hold runs what reads the file of an image of so many bytes and decodes it, as soon as there
// is memory for it. What no image may have is refused as it is read.
func Hold(size int64, read func() error) error {
	if size > MaxBytes {
		return read()
	}
	release, err := HoldText(size)
	if err != nil {
		return err
	}
	defer release()
	return read()
}

// HoldText waits for memory for a text of so many bytes. What it returns gives it back.
func HoldText(size int64) (release func(), err error) { return texts().takeBytes(size) }

// Memory is how many bytes pixels may take together.
func Memory() int64 { return pixels().bytes }
