package shard

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"prenas/internal/data"
)

// parquetLayout is where a Parquet file has what is needed of it.
type parquetLayout struct {
	image, label *parquet.Column // leaves
	classes      []string        // names, where the file has them
}

// Names by which columns are known where the file does not declare them, the
// likeliest first; and, of several declared, which one is meant.
var (
	imageColumns = []string{"image", "img", "pixel_values"}
	labelColumns = []string{"label", "labels", "fine_label", "class"}
)

// hfFeature is a column as the library datasets declares it.
type hfFeature struct {
	Type  string   `json:"_type"`
	Names []string `json:"names"`
}

// layoutOf finds the columns of a file.
func layoutOf(file *parquet.File) (l parquetLayout, err error) {
	features := declared(file)
	name, err := pick(file, features, "Image", "image", imageColumns)
	if err != nil {
		return l, err
	}
	l.image = file.Root().Column(name)
	if !l.image.Leaf() {
		if l.image = l.image.Column("bytes"); l.image == nil {
			return l, fmt.Errorf("%w: column %s has no bytes in it", data.ErrFormat, name)
		}
	}
	if !l.image.Leaf() || l.image.MaxRepetitionLevel() > 0 || l.image.Type().Kind() != parquet.ByteArray {
		return l, fmt.Errorf("%w: column %s does not hold one image a row, but %s", data.ErrFormat, name, l.image.Type())
	}
	if name, err = pick(file, features, "ClassLabel", "label", labelColumns); err != nil {
		return l, err
	}
	l.label = file.Root().Column(name)
	if !l.label.Leaf() || l.label.MaxRepetitionLevel() > 0 || !slices.Contains([]parquet.Kind{parquet.Int64, parquet.Int32, parquet.ByteArray}, l.label.Type().Kind()) {
		return l, fmt.Errorf("%w: column %s does not hold one integer or name a row, but %s", data.ErrFormat, name, l.label.Type())
	}
	l.classes = slices.Clone(features[name].Names)
	for i, class := range l.classes { // a name is a line
		l.classes[i] = strings.ReplaceAll(class, "\n", " ")
	}
	return l, nil
}

// declared are the features in a file's metadata. Some declare types that are no
// plain names: those are passed over.
func declared(file *parquet.File) map[string]hfFeature {
	text, _ := file.Lookup("huggingface")
	var all struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	if json.Unmarshal([]byte(text), &all) != nil {
		return nil
	}
	features := map[string]hfFeature{}
	for name, raw := range all.Info.Features {
		var f hfFeature
		if json.Unmarshal(raw, &f) == nil && file.Root().Column(name) != nil {
			features[name] = f
		}
	}
	return features
}

// pick chooses a column that is declared to be of a type, or has a usual name.
func pick(file *parquet.File, features map[string]hfFeature, declaredType, what string, usual []string) (string, error) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(features)) {
		if features[name].Type == declaredType {
			names = append(names, name)
		}
	}
	if len(names) == 1 {
		return names[0], nil
	}
	for _, name := range usual {
		if file.Root().Column(name) != nil && (len(names) == 0 || slices.Contains(names, name)) {
			return name, nil
		}
	}
	var have []string
	for _, c := range file.Root().Columns() {
		have = append(have, c.Name())
	}
	return "", fmt.Errorf("%w: no column for the %s (%s) among %s", data.ErrFormat, what, strings.Join(usual, ", "), strings.Join(have, ", "))
}
