package space

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// A space is the same after it was written and read, and when it is read from a file of
// the first versions, whose keys were other ones.
func TestJSONOfSpaces(t *testing.T) {
	text, err := os.ReadFile("testdata/first.json")
	if err != nil {
		t.Fatal(err)
	}
	var first map[string]json.RawMessage
	if err := json.Unmarshal(text, &first); err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`"([^"]*)":`)
	for _, name := range Names() {
		s := mustLoad(t, name)
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range key.FindAllStringSubmatch(string(text), -1) {
			if k[1] != snake(k[1]) {
				t.Errorf("%s is written with the key %q, want %q", name, k[1], snake(k[1]))
			}
		}
		for form, text := range map[string][]byte{"today's": text, "the first": first[name]} {
			want := *s
			if form == "the first" && name == "quickstart" {
				want.EmbedDim = []int{64, 96, 128} // the narrower ones came later
			}
			var read Space
			if err := json.Unmarshal(text, &read); err != nil {
				t.Errorf("%s in %s form: %v", name, form, err)
			} else if !reflect.DeepEqual(want, read) {
				t.Errorf("%s in %s form is %+v, want %+v", name, form, read, want)
			}
		}
	}
}

func TestJSONOfSpacesRefusesUnknownKeys(t *testing.T) {
	for _, text := range []string{`{"name": "a", "colour": 3}`, `{"model": {"Colour": 3}}`, `{"name": 3}`, `[]`, `{"embed_dim": 3}`} {
		var s Space
		if err := json.Unmarshal([]byte(text), &s); err == nil || !strings.Contains(err.Error(), "space") {
			t.Errorf("%s: error %v, want one about the space", text, err)
		}
	}
}
