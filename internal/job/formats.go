package job

import (
	"errors"
	"fmt"
	"strings"

	"prenas/internal/export"
	"prenas/internal/fsys"
)

// ErrFormat: a form of a model's file that does not exist.
var ErrFormat = errors.New("unknown format")

// Format is a form of a model's file.
type Format struct {
	name, ending string
	text         string // for people
	write        func(*export.Model, fsys.FS, string) error
}

var formats = []Format{
	{"safetensors", ".safetensors", "safetensors, float32, timm's names and layouts", (*export.Model).Write},
}

// FormatNames lists the formats.
func FormatNames() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// ParseFormat finds a format by its name.
func ParseFormat(name string) (Format, error) {
	for _, f := range formats {
		if f.name == name {
			return f, nil
		}
	}
	return Format{}, fmt.Errorf("%w %q; there are %s", ErrFormat, name, strings.Join(FormatNames(), ", "))
}
