package codec

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"prenas/internal/augment"
	"prenas/internal/machine"
)

// bomb is a PNG of some kilobytes whose pixels take 64 MB as they are decoded, of 16 bits.
func bomb(t *testing.T) []byte {
	t.Helper()
	const side = 1 << 11
	img := image.NewNRGBA64(image.Rect(0, 0, side, side))
	for i := range img.Pix {
		img.Pix[i] = 0x80
	}
	var text bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&text, img); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// partOf is the part of an image file that choose wants.
func partOf(text []byte, choose func(height, width int) augment.Cut) (p augment.Piece, err error) {
	err = DecodePart(text, choose, func(made augment.Piece) { p = made })
	return p, err
}

const bombEnv = "PRENAS_TEST_BOMBS"

// Any number of workers takes no more memory than the budget, which is that of two such
// pictures here. A process of its own is measured, at its highest.
func TestWorkersShareOneBudget(t *testing.T) {
	const decoded, workers = 1 << 22 * (8 + 3), 8
	if path := os.Getenv(bombEnv); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		shared := newBudget(2 * decoded)
		pixels = func() *budget { return shared }
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				if _, err := Decode(text); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		return
	}
	path := filepath.Join(t.TempDir(), "bomb.png")
	text := bomb(t)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	c.Env = append(os.Environ(), bombEnv+"="+path)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const rest = 60 << 20 // of the process, and what the collector has not seen yet
	peak := peakOf(t, c)
	t.Logf("%d bytes of PNG, %d workers: %d MB at most", len(text), workers, peak>>20)
	if most := int64(3*decoded + rest); peak > most {
		t.Errorf("%d MB, want at most %d MB; all workers at once would take %d MB", peak>>20, most>>20, workers*decoded>>20)
	}
}

// An image that alone is more than the budget is refused, and is not damaged for it.
func TestImagesBeyondTheBudgetAreRefused(t *testing.T) {
	before := pixels
	defer func() { pixels = before }()
	small := newBudget(1 << 20)
	pixels = func() *budget { return small }
	if _, err := Decode(bomb(t)); !errors.Is(err, machine.ErrMemory) || errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	if !small.free.TryAcquire(small.bytes) {
		t.Error("memory was not given back")
	}
}

// The lease ends when use does, whatever happens.
func TestMemoryIsGivenBack(t *testing.T) {
	before := pixels
	defer func() { pixels = before }()
	own := newBudget(1 << 24)
	pixels = func() *budget { return own }
	var whole bytes.Buffer
	if err := png.Encode(&whole, image.NewGray(image.Rect(0, 0, 5, 5))); err != nil {
		t.Fatal(err)
	}
	for i, text := range [][]byte{whole.Bytes(), whole.Bytes()[:60], []byte("no image"), nil} {
		held := int64(0)
		err := DecodePart(text, All, func(augment.Piece) {
			if !own.free.TryAcquire(own.bytes) {
				held++
			}
		})
		if (i == 0) != (err == nil) || (i == 0) != (held == 1) {
			t.Errorf("%d: %v, held %d times", i, err, held)
		}
	}
	if !own.free.TryAcquire(own.bytes) {
		t.Error("memory was not given back")
	}
}
