package data

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// DamagedImage is the error of an image that cannot be read: where it is, and
// why.
type DamagedImage struct {
	Name string
	Err  error
}

func (d *DamagedImage) Error() string { return fmt.Sprintf("%s: %v", d.Name, d.Err) }
func (d *DamagedImage) Unwrap() error { return d.Err }

// Skipped collects the damaged images that were left out, each once. It is safe
// for several goroutines.
type Skipped struct {
	mu     sync.Mutex
	images map[string]SkippedImage
}

// SkippedImage is one of them, as it stands in a list.
type SkippedImage struct {
	Image string `json:"image"`
	Why   string `json:"why"`
}

// Add notes a damaged image.
func (s *Skipped) Add(d *DamagedImage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.images == nil {
		s.images = map[string]SkippedImage{}
	}
	s.images[d.Name] = SkippedImage{d.Name, d.Err.Error()}
}

// List is all that was noted, by name.
func (s *Skipped) List() []SkippedImage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.images), func(a, b SkippedImage) int { return cmp.Compare(a.Image, b.Image) })
}
