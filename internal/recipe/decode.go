package recipe

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"prenas/internal/nearest"
	"prenas/internal/strictyaml"
)

// decodeStrict reads one YAML document into the struct that out points to and
// refuses what yaml.v3 would let pass: keys the struct does not have (naming the
// nearest one it has) and values outside the field's `range` or `oneof` tag. Every
// error names file and line. Fields the document leaves out keep their value.
//
//	Rate float64 `yaml:"rate" range:"[0,1)"`
//	Kind string  `yaml:"kind" oneof:"cosine step"`
func decodeStrict(file string, text []byte, out any) error {
	root, err := strictyaml.Root(text)
	switch {
	case errors.Is(err, strictyaml.ErrSeveral):
		return fmt.Errorf("%w: %s: only one YAML document is expected", ErrInvalid, file)
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrInvalid, file, err)
	case root == nil || isNull(root):
		return nil // an empty document changes nothing
	}
	target := reflect.ValueOf(out).Elem()
	if err := checkKeys(root, target.Type(), ""); err != nil {
		return fmt.Errorf("%w: %s:%w", ErrInvalid, file, err)
	}
	if err := root.Decode(out); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, file, err)
	}
	if err := checkValues(root, target, ""); err != nil {
		return fmt.Errorf("%w: %s:%w", ErrInvalid, file, err)
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// checkKeys walks mappings and structs side by side before decoding, so that a
// misspelt key is reported before a value of it can be, and a value of the wrong kind
// with its key.
func checkKeys(node *yaml.Node, t reflect.Type, path string) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if isNull(node) {
		return nil
	}
	if t.Kind() != reflect.Struct {
		if err := node.Decode(reflect.New(t).Interface()); err != nil || t.Kind() == reflect.Int && !isWhole(node) {
			return fmt.Errorf("%d: %s wants %s, not %s", node.Line, path, wanted(t), given(node))
		}
		return nil
	}
	fields := fieldsByKey(t)
	err := strictyaml.Block(node, func(key string) bool { _, known := fields[key]; return known }, func(key, value *yaml.Node) error {
		return checkKeys(value, fields[key.Value].Type, join(path, key.Value))
	})
	var wrong *strictyaml.KeyError
	switch {
	case errors.Is(err, strictyaml.ErrNoBlock):
		return fmt.Errorf("%d: %s must be a block of keys", node.Line, orDocument(path))
	case errors.As(err, &wrong) && wrong.Twice:
		return fmt.Errorf("%d: key %q is given twice", wrong.At.Line, join(path, wrong.At.Value))
	case wrong != nil:
		return fmt.Errorf("%d: unknown key %q%s", wrong.At.Line, join(path, wrong.At.Value), didYouMean(wrong.At.Value, fields))
	}
	return err
}

// isWhole tells whether a number is whole, as 2, 2.0 and 2e3 are. yaml.v3 cuts 1.9 to 1
// where an integer is wanted.
func isWhole(n *yaml.Node) bool {
	var x float64
	return n.Decode(&x) == nil && x == math.Trunc(x) && !math.IsInf(x, 0)
}

// checkValues checks the tags of the values the document set; defaults are ours
// and are covered by a test.
func checkValues(node *yaml.Node, v reflect.Value, path string) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode || v.Kind() != reflect.Struct {
		return nil
	}
	fields := fieldsByKey(v.Type())
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := join(path, node.Content[i].Value), node.Content[i+1]
		field := fields[node.Content[i].Value]
		if err := checkValues(value, v.FieldByIndex(field.Index), name); err != nil {
			return err
		}
		if err := checkTag(field, v.FieldByIndex(field.Index)); err != nil {
			return fmt.Errorf("%d: %s %w", value.Line, name, err)
		}
	}
	return nil
}

// checkTag applies a field's `range` or `oneof` tag to its value, or to each of an array.
func checkTag(field reflect.StructField, v reflect.Value) error {
	if allowed, ok := field.Tag.Lookup("oneof"); ok {
		for _, word := range strings.Fields(allowed) {
			if v.String() == word {
				return nil
			}
		}
		return fmt.Errorf("is %q, must be one of %s", v.String(), strings.Join(strings.Fields(allowed), ", "))
	}
	limits, ok := field.Tag.Lookup("range")
	if !ok {
		return nil
	}
	if v.Kind() == reflect.Array {
		for i := range v.Len() {
			if err := checkTag(field, v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
	x := 0.0
	if v.CanInt() {
		x = float64(v.Int())
	} else {
		x = v.Float()
	}
	low, high, _ := strings.Cut(limits[1:len(limits)-1], ",")
	lowest, highest := bound(low), bound(high)
	if math.IsNaN(x) || math.IsInf(x, 0) || x < lowest || x > highest ||
		(x == lowest && limits[0] == '(') || (x == highest && strings.HasSuffix(limits, ")")) {
		return fmt.Errorf("is %v, must be within %s", v.Interface(), limits)
	}
	return nil
}

// CheckLimits reports the first value outside the limits of its key, however it came to the
// recipe; path is put before the key.
func (r Recipe) CheckLimits(path string) error { return checkTags(reflect.ValueOf(r), path) }

// checkTags applies the tags of a block to all its values, however they came to it. What JSON
// leaves out while it is off has none.
func checkTags(v reflect.Value, path string) error {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		key, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		var err error
		switch {
		case options == "omitzero" && value.IsZero():
		case value.Kind() != reflect.Struct:
			if err = checkTag(field, value); err != nil {
				err = fmt.Errorf("%s %w", join(path, key), err)
			}
		default:
			err = checkTags(value, join(path, key))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkKey applies the tag of a struct's field to its value.
func checkKey(block any, field string) error {
	v := reflect.ValueOf(block)
	f, _ := v.Type().FieldByName(field)
	if err := checkTag(f, v.FieldByName(field)); err != nil {
		return fmt.Errorf("%w: it %w", ErrInvalid, err)
	}
	return nil
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.Array:
		return fmt.Sprintf("a list of %d numbers", t.Len())
	}
	return "a text"
}

func given(node *yaml.Node) string {
	if node.Kind == yaml.SequenceNode {
		return fmt.Sprintf("a list of %d", len(node.Content))
	}
	return strictyaml.Kind(node)
}

func bound(text string) float64 {
	x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		panic("recipe: bad range tag: " + err.Error())
	}
	return x
}

func fieldsByKey(t reflect.Type) map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		fields[key] = t.Field(i)
	}
	return fields
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orDocument(path string) string {
	if path == "" {
		return "the recipe"
	}
	return path
}

// didYouMean names the nearest known key, if one is near enough to be a slip.
func didYouMean(key string, fields map[string]reflect.StructField) string {
	name, edits := nearest.Name(key, slices.Collect(maps.Keys(fields)))
	if name == "" || edits > len(key)/2+1 {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", name)
}
