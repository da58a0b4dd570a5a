package export

import (
	"encoding/json"
	"fmt"
	"io"

	"prenas/internal/fsys"
	"prenas/internal/tensorfile"
)

// MetadataKey is where a model's file, safetensors or ONNX, holds its Info as JSON.
const MetadataKey = "prenas.model"

// Names of the input and the output of an ONNX model.
const (
	InputName  = "images"
	OutputName = "logits"
)

// Write writes the model as safetensors.
func (m *Model) Write(f fsys.FS, path string) error {
	text, err := json.Marshal(m.Info)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return tensorfile.Write(f, path, &tensorfile.File{Tensors: m.Tensors, Metadata: map[string]string{MetadataKey: string(text)}})
}

// Read reads a model that Write wrote. Errors name the file and wrap ErrModel, or what
// tensorfile has for damaged files.
func Read(f fsys.FS, path string) (*Model, error) {
	file, err := tensorfile.ReadVerified(f, path)
	if err != nil {
		return nil, err
	}
	text, ok := file.Metadata[MetadataKey]
	if !ok {
		return nil, fmt.Errorf("%s: %w: it has tensors but no description; prenas export writes models", path, ErrModel)
	}
	m := &Model{Tensors: file.Tensors}
	if m.Info, err = ParseInfo([]byte(text)); err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// WriteSiblings writes what people read beside a model's file, whatever its format: its
// Info, path.json, and its card, path.md.
func WriteSiblings(f fsys.FS, path string, c Card) error {
	text, err := json.MarshalIndent(c.Info, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	card, err := c.markdown()
	if err != nil {
		return fmt.Errorf("%s: model card: %w", path, err)
	}
	for _, sibling := range []struct {
		ending string
		text   []byte
	}{{".json", append(text, '\n')}, {".md", card}} {
		err := fsys.WriteAtomic(f, path+sibling.ending, func(w io.Writer) error {
			_, err := w.Write(sibling.text)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
