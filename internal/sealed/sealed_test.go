package sealed_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"prenas/internal/fsys"
	"prenas/internal/sealed"
)

type thing struct {
	Name  string   `json:"name"`
	Sizes []int    `json:"sizes"`
	Part  struct{} `json:"part"`
}

func TestEveryFlippedBitIsSeen(t *testing.T) {
	for _, indent := range []string{"", "  "} {
		for _, value := range []any{thing{"x", []int{1, 22, 333}, struct{}{}}, struct{}{}, map[string]map[string]int{"a": {"b": 1}}} {
			text, err := sealed.Marshal(value, indent)
			if err != nil {
				t.Fatal(err)
			}
			back := reflect.New(reflect.TypeOf(value))
			if err := sealed.Parse("f", text, back.Interface()); err != nil || !reflect.DeepEqual(back.Elem().Interface(), value) {
				t.Fatalf("%s: %v, %v", text, back.Elem(), err)
			}
			for i := range text {
				for bit := range 8 {
					text[i] ^= 1 << bit
					var any any
					if err := sealed.Parse("f", text, &any); err == nil {
						t.Errorf("bit %d of byte %d, %q, is not seen", bit, i, text[max(0, i-20):min(len(text), i+20)])
					}
					text[i] ^= 1 << bit
				}
			}
			for n := range text {
				var any any
				if err := sealed.Parse("f", text[:n], &any); err == nil && n < len(text)-1 {
					t.Errorf("%d of %d bytes pass", n, len(text))
				}
			}
		}
	}
}

func TestEveryFlippedBitOfLinesIsSeen(t *testing.T) {
	lines := []byte("{\"a\":1}\n{\"b\":[2,\"0123456789abcdef\"]}\n")
	text := sealed.Lines(lines)
	if got, has, err := sealed.CheckLines(text); err != nil || !has || !bytes.Equal(got, lines) {
		t.Errorf("%q, %v, %v", got, has, err)
	}
	if got, has, err := sealed.CheckLines(lines); err != nil || has || !bytes.Equal(got, lines) {
		t.Errorf("%q, %v, %v", got, has, err)
	}
	for i := range text {
		for bit := range 8 {
			text[i] ^= 1 << bit
			if _, has, err := sealed.CheckLines(text); err == nil {
				t.Errorf("bit %d of byte %d is not seen (digest: %v)", bit, i, has)
			}
			text[i] ^= 1 << bit
		}
	}
}

// A file from before there were digests, or without its key, is read, and told once.
func TestFilesWithoutADigest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.json")
	var told []string
	sealed.Tell(func(path string) { told = append(told, path) })
	defer sealed.Tell(nil)
	var got thing
	if err := sealed.Write(fsys.OS, path, thing{Name: "new"}); err != nil {
		t.Fatal(err)
	}
	if err := sealed.Read(fsys.OS, path, &got); err != nil || got.Name != "new" || told != nil {
		t.Errorf("%+v, %v, told %q", got, err, told)
	}
	if err := os.WriteFile(path, []byte(`{"name": "old", "versions": {"go": "1"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sealed.Read(fsys.OS, path, &got); err != nil || got.Name != "old" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if len(told) != 1 || told[0] != path {
		t.Errorf("told %q", told)
	}
}

// An edit that leaves the digest is refused with what to do.
func TestEdited(t *testing.T) {
	text, err := sealed.Marshal(thing{Name: "a"}, "  ")
	if err != nil {
		t.Fatal(err)
	}
	text[len("{\n  \"name\": \"")] = 'b'
	var got thing
	if err := sealed.Parse("f", text, &got); !errors.Is(err, sealed.ErrDamaged) {
		t.Error(err)
	}
}
