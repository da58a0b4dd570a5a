package tensorfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// A model that was cut into files has an index, model.safetensors.index.json or
// pytorch_model.bin.index.json: a JSON object whose weight_map has the file of each tensor.

// IsIndex tells whether a file's bytes are such an index.
func IsIndex(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) && bytes.Contains(data, []byte(`"weight_map"`))
}

// readShards reads the files of an index, which lie beside it.
func readShards(path string, data []byte) (*File, error) {
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("%s: %w: an index of weights: %v", path, ErrFormat, err)
	}
	all := &File{Tensors: map[string]Tensor{}, Metadata: map[string]string{}}
	for _, name := range slices.Compact(slices.Sorted(maps.Values(index.WeightMap))) {
		if name == "" || name != filepath.Base(name) {
			return nil, fmt.Errorf("%s: %w: its weights are in %.80q, which is no name of a file beside it", path, ErrFormat, name)
		}
		shard, err := ReadAny(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			return nil, fmt.Errorf("%s names it: %w", path, err)
		}
		for tensor, t := range shard.Tensors {
			if index.WeightMap[tensor] == name {
				all.Tensors[tensor] = t
			}
		}
	}
	for _, tensor := range slices.Sorted(maps.Keys(index.WeightMap)) {
		if _, ok := all.Tensors[tensor]; !ok {
			return nil, fmt.Errorf("%s: %w: tensor %.80q is not in %s", path, ErrFormat, tensor, index.WeightMap[tensor])
		}
	}
	return all, nil
}
