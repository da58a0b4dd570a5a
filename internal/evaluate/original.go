package evaluate

import (
	"fmt"

	"prenas/internal/fsys"
	"prenas/internal/sealed"
)

// OriginalFile is the name of Original in a run directory.
const OriginalFile = "original.json"

// Original is original.json: what the model that a family was shrunk from reaches on the family's
// images, and the latency of the model and of each architecture.
type Original struct {
	Results Results `json:"results"` // with one architecture, the whole model
	// Latency is in milliseconds, by architecture, the original's among them. LatencyOf says how it
	// was measured. Only these values of the file differ between repetitions.
	Latency   map[string]float64 `json:"latency"`
	LatencyOf string             `json:"latency_of"`
}

// Write writes original.json, whole or not at all.
func (o Original) Write(f fsys.FS, path string) error { return sealed.Write(f, path, o) }

// ReadOriginal reads a file that Write wrote.
func ReadOriginal(f fsys.FS, path string) (o Original, err error) {
	text, err := fsys.ReadText(f, path)
	if err != nil {
		return o, err
	}
	if err = sealed.Parse(path, text, &o); err == nil {
		err = o.Results.check()
	}
	for arch, ms := range o.Latency {
		if err == nil && !(ms >= 0 && ms < 1e12) {
			err = fmt.Errorf("a latency of %v milliseconds of %s", ms, arch)
		}
	}
	if err != nil {
		return o, fmt.Errorf("%s: %w", path, err)
	}
	return o, nil
}

// Result is the original's row.
func (o Original) Result() Result { return o.Results.Archs[0] }
