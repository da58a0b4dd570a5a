package tensorfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"prenas/internal/fsys"
	"prenas/internal/mistaken"
)

// Checkpoint is what a file of weights of any kind holds.
type Checkpoint struct {
	*File
	// Entry is the path of the entry that the weights were under, such as
	// "model"; empty if they were the whole file.
	Entry string
	// Skipped are the other entries beside it, in the file's order.
	Skipped []string
}

// weightEntries are the entries that training scripts keep weights under, the
// one to prefer first.
var weightEntries = []string{"model", "state_dict", "model_state_dict", "model_state", "net", "module"}

// maxShown bounds what tensors of a .pth file show of its storages, in
// multiples of their size: tied weights show a storage twice.
const maxShown = 4

// ReadAny reads a file of weights: safetensors, or PyTorch's .pth in its zip
// or its legacy form. Of a .pth, nothing is executed: names that are not on a
// short list are refused with ErrGlobal.
func ReadAny(path string) (*Checkpoint, error) {
	data, err := fsys.ReadFile(fsys.OS, path)
	if err != nil {
		return nil, err
	}
	c, err := parseAny(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, mistaken.Instead(data, err))
	}
	return c, nil
}

func parseAny(data []byte) (*Checkpoint, error) {
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
	return &Checkpoint{File: f}, nil
}

// checkpoint picks the weights out of what a file holds.
func checkpoint(root any, shown, stored int64) (*Checkpoint, error) {
	if shown/maxShown > stored {
		return nil, malformed("tensors show %d bytes of storages of %d: they overlap too often", shown, stored)
	}
	c := &Checkpoint{File: &File{Tensors: map[string]Tensor{}, Metadata: map[string]string{}}}
	d, ok := root.(*dict)
	for range 3 { // entries lie at most so deep
		if !ok {
			break
		}
		weights := map[string]*view{}
		for i, key := range d.keys {
			name, isText := key.(string)
			v, isView := d.values[i].(*view)
			if !isText || !isView {
				continue
			}
			if _, twice := weights[name]; twice {
				return nil, malformed("tensor %.80q stands twice", name)
			}
			weights[name] = v
		}
		if len(weights) > 0 {
			for name, v := range weights {
				c.Tensors[name] = v.tensor()
			}
			c.skip(d, func(value any) bool { _, isView := value.(*view); return isView })
			return c, nil
		}
		inner, name := d.weights()
		if inner == nil {
			break
		}
		c.skip(d, func(value any) bool { return value == any(inner) })
		c.Entry = strings.TrimPrefix(c.Entry+"."+name, ".")
		d = inner
	}
	return nil, malformed("it holds no weights: no tensor by name, neither at the top nor under %s", strings.Join(weightEntries, ", "))
}

func (c *Checkpoint) skip(d *dict, taken func(any) bool) {
	for i, key := range d.keys {
		if name, isText := key.(string); isText && !taken(d.values[i]) {
			c.Skipped = append(c.Skipped, name)
		}
	}
}

// weights is the entry of a dict that holds weights.
func (d *dict) weights() (*dict, string) {
	for _, name := range weightEntries {
		for i, key := range d.keys {
			if inner, isDict := d.values[i].(*dict); key == any(name) && isDict {
				return inner, name
			}
		}
	}
	return nil, ""
}
