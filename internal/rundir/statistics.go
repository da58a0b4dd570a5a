package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"prenas/internal/fsys"
	"prenas/internal/strictjson"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// StatisticsFile of a run directory has running statistics that were estimated after
// training, by the names that a checkpoint has for its own. Weights takes them instead of
// the checkpoint's, if they belong to the same weights.
const StatisticsFile = "statistics.safetensors"

// Calibration says what statistics were estimated on.
type Calibration struct {
	Step    int `json:"step"`    // updates behind the weights
	Batches int `json:"batches"` // of training images
	Batch   int `json:"batch"`   // images of each
}

// WriteStatistics writes the statistics of architectures, each in the order of
// supernet.Stats, whole or not at all.
func WriteStatistics(f fsys.FS, run string, m space.Model, archs []space.Arch, stats [][]tensorfile.Tensor, c Calibration) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("%s: %w", StatisticsFile, err)
	}
	file := &tensorfile.File{Tensors: map[string]tensorfile.Tensor{}, Metadata: map[string]string{progressKey: string(text)}}
	for i, arch := range archs {
		for k, p := range supernet.Stats(m, arch) {
			file.Tensors[StatName(arch, p)] = stats[i][k]
		}
	}
	return tensorfile.Write(f, filepath.Join(run, StatisticsFile), file)
}

// ReadStatistics reads what WriteStatistics wrote; nothing where there is no file.
func ReadStatistics(f fsys.FS, run string) (map[string]tensorfile.Tensor, Calibration, error) {
	path, c := filepath.Join(run, StatisticsFile), Calibration{}
	file, err := tensorfile.ReadVerified(f, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, c, nil
	}
	if err == nil {
		err = strictjson.Unmarshal([]byte(file.Metadata[progressKey]), &c)
	}
	if err != nil {
		return nil, c, fmt.Errorf("%s: %w", path, err)
	}
	return file.Tensors, c, nil
}

// StatName is the name of an architecture's running statistic in a checkpoint.
func StatName(arch space.Arch, p supernet.Param) string {
	return StatsPrefix + arch.String() + "." + p.Name
}

// AddRunningStats puts an architecture's running statistics, by timm's names, among
// weights to begin with; RunningStats takes them out again.
func AddRunningStats(weights map[string]tensorfile.Tensor, m space.Model, arch space.Arch, stats map[string]tensorfile.Tensor) {
	for _, p := range supernet.Stats(m, arch) {
		weights[StatName(arch, p)] = stats[p.Name]
	}
}
