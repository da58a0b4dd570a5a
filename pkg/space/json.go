package space

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"prenas/internal/strictjson"
)

// UnmarshalJSON reads what json.Marshal writes of a space, and the files of the first
// versions, whose keys were the fields' names in Go: EmbedDim for embed_dim. It refuses
// keys that it does not know.
func (s *Space) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var any any
	if err := d.Decode(&any); err != nil {
		return err
	}
	any, err := snakeKeys(any)
	if err != nil {
		return fmt.Errorf("space: %w", err)
	}
	renamed, err := json.Marshal(any)
	if err != nil {
		return err
	}
	type plain Space // without this method
	if err := strictjson.UnmarshalKnown(renamed, (*plain)(s)); err != nil {
		return fmt.Errorf("space: %w", err)
	}
	return nil
}

// snakeKeys renames the keys of all objects in a JSON value. Two keys that get one name wrap
// strictjson.ErrTwice.
func snakeKeys(value any) (any, error) {
	var err error
	switch v := value.(type) {
	case map[string]any:
		renamed := make(map[string]any, len(v))
		for key, of := range v {
			name := snake(key)
			if _, twice := renamed[name]; twice {
				return nil, fmt.Errorf("key %.40q %w", name, strictjson.ErrTwice)
			}
			if renamed[name], err = snakeKeys(of); err != nil {
				return nil, err
			}
		}
		return renamed, nil
	case []any:
		for i, of := range v {
			if v[i], err = snakeKeys(of); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

// snake is max_relative_position for MaxRelativePosition, qkv_bias for QKVBias, and what
// is in lower case already as it is.
func snake(name string) string {
	var out strings.Builder
	letters := []rune(name)
	for i, c := range letters {
		begins := i > 0 && unicode.IsUpper(c) &&
			(unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1]))
		if begins {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(c))
	}
	return out.String()
}
