// Package strictyaml reads what people write in YAML as one document whose blocks have known keys,
// each of them once. What the values may be, and the sentences of errors, are the reader's.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// Errors.
var (
	// ErrSeveral: a text of several documents.
	ErrSeveral = errors.New("more than one YAML document")
	// ErrNoBlock: something else where a block of keys belongs.
	ErrNoBlock = errors.New("no block of keys")
)

// KeyError is a key that a block does not have, or that is given a second time.
type KeyError struct {
	At    *yaml.Node // the key
	Twice bool
}

// Error names the key and its line.
func (e *KeyError) Error() string {
	if e.Twice {
		return fmt.Sprintf("line %d: key %q is given twice", e.At.Line, e.At.Value)
	}
	return fmt.Sprintf("line %d: unknown key %q", e.At.Line, e.At.Value)
}

// Root is the root of the only document of a text; nil where there is none. The errors are
// ErrSeveral and those of the syntax.
func Root(text []byte) (*yaml.Node, error) {
	var document, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, ErrSeveral
	}
	return document.Content[0], nil
}

// Block gives use each key of a block and its value, in the order of the text. It ends with the
// first error of use, with a *KeyError, or with ErrNoBlock.
func Block(n *yaml.Node, known func(key string) bool, use func(key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return ErrNoBlock
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if twice := seen[key.Value]; twice || !known(key.Value) {
			return &KeyError{key, twice}
		}
		seen[key.Value] = true
		if err := use(key, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// Kind is what stands in the place of a value, as an error tells it.
func Kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a block of keys"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	return fmt.Sprintf("%.40q", n.Value)
}
