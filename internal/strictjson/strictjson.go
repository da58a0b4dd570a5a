// Package strictjson reads JSON of which each key counts. encoding/json takes the last of two
// equal keys, and takes Arch for arch, so a file could say one thing to its reader and another
// to the program; here both are errors.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrTwice: an object gives a key twice.
var ErrTwice = errors.New("is given twice")

// Unmarshal is json.Unmarshal, but wraps ErrTwice where an object gives a key twice.
func Unmarshal(text []byte, into any) error {
	if err := once(text); err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// UnmarshalKnown is Unmarshal that also refuses keys which into has no field for.
func UnmarshalKnown(text []byte, into any) error {
	if err := once(text); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is more after the value")
	}
	return nil
}

// once checks text for keys that are given twice; what is no JSON is for the decoder to say.
// Keys are equal as encoding/json has it: whatever the case of their letters.
func once(text []byte) error {
	type level struct {
		keys   map[string]bool // nil in a list
		isName bool            // in an object, whether the next token is a key
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	levels := []level{{}}
	for {
		token, err := d.Token()
		if err != nil {
			return nil
		}
		top := &levels[len(levels)-1]
		if key, isText := token.(string); isText && top.isName {
			folded := strings.ToLower(strings.ToUpper(key))
			if top.keys[folded] {
				return fmt.Errorf("key %.40q %w", key, ErrTwice)
			}
			top.keys[folded], top.isName = true, false
			continue
		}
		top.isName = top.keys != nil
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{map[string]bool{}, true})
		case json.Delim('['):
			levels = append(levels, level{})
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:len(levels)-1]
		}
	}
}
