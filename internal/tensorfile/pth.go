package tensorfile

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"prenas/internal/fsys"
	"prenas/internal/mistaken"
)

// maxShown bounds what tensors of a .pth file show of its storages, in
// multiples of their size: tied weights show a storage twice.
const maxShown = 4

// ReadAny reads a file of weights of any origin: safetensors, PyTorch's .pth in its zip or
// its legacy form, or the index of a model in several files (see IsIndex). Of a .pth,
// nothing is executed: names that are not on a short list are refused with ErrGlobal. What
// it holds under entries has their names before its own: model.patch_embed.proj.weight.
// Arrays of NumPy are tensors as any others.
func ReadAny(path string) (*File, error) {
	data, err := fsys.ReadFile(fsys.OS, path)
	if err != nil {
		return nil, err
	}
	if IsIndex(data) {
		return readShards(path, data)
	}
	f, err := parseAny(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, mistaken.Instead(data, err))
	}
	return f, nil
}

func parseAny(data []byte) (*File, error) {
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return parseZip(data)
	case bytes.HasPrefix(data, legacyStart):
		return parseLegacy(data)
	case len(data) > 0 && data[0] == 0x80 && !(len(data) > 8 && data[8] == '{'): // a header's length may begin so too
		return nil, malformed("a pickle, but not one that torch.save wrote")
	}
	f, err := parseChecked(data)
	if errors.Is(err, ErrChecksum) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("neither safetensors nor a .pth of torch.save: %w", err)
	}
	return f, nil
}

const (
	maxDepth   = 6       // of entries within entries
	maxVisited = 1 << 18 // values of them: a dict may hold itself
)

// checkpoint collects the tensors that a file holds, with the names of the entries they
// are under. Entries whose names are no texts, as those of optimizers, are left out.
func checkpoint(root any, shown, stored int64) (*File, error) {
	if shown/maxShown > stored {
		return nil, malformed("tensors show %d bytes of storages of %d: they overlap too often", shown, stored)
	}
	f := &File{Tensors: map[string]Tensor{}, Metadata: map[string]string{}}
	visited := 0
	var walk func(prefix string, value any, depth int) error
	each := func(prefix, name string, value any, depth int) error {
		if visited++; visited > maxVisited {
			return malformed("more than %d entries", maxVisited)
		}
		full := prefix + name
		var t Tensor
		switch v := value.(type) {
		case *view:
			t = v.tensor()
		case *array:
			var err error
			if t, err = v.tensor(); err != nil {
				return fmt.Errorf("%.80q: %w", full, err)
			}
		default:
			return walk(full+".", value, depth+1)
		}
		if _, twice := f.Tensors[full]; twice {
			return malformed("tensor %.80q stands twice", full)
		}
		f.Tensors[full] = t
		return nil
	}
	walk = func(prefix string, value any, depth int) error {
		if depth > maxDepth {
			return nil
		}
		switch v := value.(type) {
		case *dict:
			for i, key := range v.keys {
				if name, isText := key.(string); isText {
					if err := each(prefix, name, v.values[i], depth); err != nil {
						return err
					}
				}
			}
		case *list:
			for i, item := range v.items {
				if err := each(prefix, strconv.Itoa(i), item, depth); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk("", root, 0); err != nil {
		return nil, err
	}
	if len(f.Tensors) == 0 {
		return nil, malformed("it holds no weights: there is no tensor with a name")
	}
	return f, nil
}
