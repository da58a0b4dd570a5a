package strictjson

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestKeysGivenTwice(t *testing.T) {
	for text, twice := range map[string]bool{
		`{}`:                             false,
		`[]`:                             false,
		`"a"`:                            false,
		`{"a": 1, "b": 2}`:               false,
		`{"a": 1, "a": 1}`:               true,
		`{"a": 1, "A": 1}`:               true, // of a struct both are field A
		`{"a": 1, "\u0061": 1}`:          true,
		`{"sk": 1, "ſK": 1}`:             true, // as encoding/json folds letters
		`{"a": "a", "b": "a"}`:           false,
		`{"a": {"a": {"a": 1}}}`:         false,
		`{"a": {"b": 1}, "c": {"b": 1}}`: false,
		`[{"a": 1}, {"a": 1}]`:           false,
		`[[{"a": [], "b": {}, "a": 1}]]`: true,
		`{"a": [{"b": 1}], "a": 2}`:      true,
		`{"a": {}, "b": [], "c": {"x": null, "x": null}}`:     true,
		strings.Repeat("[", 5000) + strings.Repeat("]", 5000): false,
	} {
		var into any
		if err := Unmarshal([]byte(text), &into); errors.Is(err, ErrTwice) != twice || !twice && err != nil {
			t.Errorf("%.60s: %v", text, err)
		}
		if err := UnmarshalKnown([]byte(text), &into); errors.Is(err, ErrTwice) != twice || !twice && err != nil {
			t.Errorf("known, %.60s: %v", text, err)
		}
	}
}

func TestWhatIsNotJSON(t *testing.T) {
	for _, text := range []string{``, `{`, `{"a": 1} {}`, `{"a": 1}]`, `{"a" 1}`, `nul`} {
		var into any
		if Unmarshal([]byte(text), &into) == nil || UnmarshalKnown([]byte(text), &into) == nil {
			t.Errorf("%q is read", text)
		}
	}
	var into struct{ A int }
	if err := UnmarshalKnown([]byte(`{"b": 1}`), &into); err == nil {
		t.Error("an unknown key is read")
	}
	if err := Unmarshal([]byte(`{"b": 1, "a": 2}`), &into); err != nil || into.A != 2 {
		t.Error(into, err)
	}
}

// Whatever encoding/json reads is read, or has a key twice.
func FuzzUnmarshal(f *testing.F) {
	for _, text := range []string{`{"a": [1, {"b": null}], "A": 1}`, `{"a": 1}]`, `{"a" 1}`, `{`, ``} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var a, b any
		want, got := json.Unmarshal(text, &a), Unmarshal(text, &b)
		if (want == nil) != (got == nil) && !errors.Is(got, ErrTwice) {
			t.Errorf("%q: %v, encoding/json %v", text, got, want)
		}
	})
}
