package space

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
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
	renamed, err := json.Marshal(snakeKeys(any))
	if err != nil {
		return err
	}
	type plain Space // without this method
	d = json.NewDecoder(bytes.NewReader(renamed))
	d.DisallowUnknownFields()
	if err := d.Decode((*plain)(s)); err != nil {
		return fmt.Errorf("space: %w", err)
	}
	return nil
}

// snakeKeys renames the keys of all objects in a JSON value.
func snakeKeys(value any) any {
	switch v := value.(type) {
	case map[string]any:
		renamed := make(map[string]any, len(v))
		for key, of := range v {
			renamed[snake(key)] = snakeKeys(of)
		}
		return renamed
	case []any:
		for i, of := range v {
			v[i] = snakeKeys(of)
		}
	}
	return value
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
