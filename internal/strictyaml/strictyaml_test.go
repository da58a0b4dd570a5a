package strictyaml

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestBlocksHaveKnownKeysOnce(t *testing.T) {
	for _, c := range []struct{ text, keys, err string }{
		{"b: 1\na: [2]\n", "b a", ""},
		{"a: 1\nb: 2\na: 3\n", "a b", `line 3: key "a" is given twice`},
		{"a: 1\nc: 2\nb: 3\n", "a", `line 2: unknown key "c"`},
		{"{a: 1, <<: {b: 2}}", "a", `line 1: unknown key "<<"`},
		{"[a, b]", "", ErrNoBlock.Error()},
		{"a: 1\n---\nb: 2\n", "", ErrSeveral.Error()},
		{"a: [", "", "yaml: line 1: did not find expected node content"},
	} {
		var keys []string
		root, err := Root([]byte(c.text))
		if err == nil {
			err = Block(root, func(key string) bool { return slices.Contains([]string{"a", "b"}, key) }, func(key, _ *yaml.Node) error {
				keys = append(keys, key.Value)
				return nil
			})
		}
		if got := strings.Join(keys, " "); got != c.keys || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%q: keys %q, error %v", c.text, got, err)
		}
	}
	for _, empty := range []string{"", "# nothing\n"} {
		if root, err := Root([]byte(empty)); root != nil || err != nil {
			t.Errorf("%q: %v, %v", empty, root, err)
		}
	}
	root, err := Root([]byte("a: 1"))
	if err != nil {
		t.Fatal(err)
	}
	own := errors.New("the value's")
	if err := Block(root, func(string) bool { return true }, func(_, _ *yaml.Node) error { return own }); !errors.Is(err, own) {
		t.Errorf("error %v, want %v", err, own)
	}
}
