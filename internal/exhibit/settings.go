package exhibit

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// setting is a value of the manifest. Key is its path: the keys with points between them.
type setting struct{ Key, Value string }

var nan = math.NaN()

// Limits of what is shown of a manifest.
const (
	maxSettings = 2000
	maxDepth    = 32
)

func flatten(list []setting, key string, value json.RawMessage) []setting {
	return flattenTo(list, key, value, 0)
}

func flattenTo(list []setting, key string, value json.RawMessage, depth int) []setting {
	dec := json.NewDecoder(bytes.NewReader(value))
	token, err := dec.Token()
	if len(list) >= maxSettings {
		return list
	}
	if err != nil || token != json.Delim('{') || depth > maxDepth {
		var text string
		if json.Unmarshal(value, &text) != nil {
			var compact bytes.Buffer
			if json.Compact(&compact, value) != nil {
				return list
			}
			text = compact.String()
		}
		return append(list, setting{key, text})
	}
	// By token, because a map would lose the file's order.
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return list
		}
		var inner json.RawMessage
		if dec.Decode(&inner) != nil {
			return list
		}
		path := name.(string) // a key of an object is a text
		if key != "" {
			path = key + "." + path
		}
		list = flattenTo(list, path, inner, depth+1)
	}
	return list
}

func millions(n int64) string { return strconv.FormatFloat(float64(n)/1e6, 'f', 3, 64) }

func percent(fraction float64) string { return strconv.FormatFloat(100*fraction, 'f', 2, 64) }
