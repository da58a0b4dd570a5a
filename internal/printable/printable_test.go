package printable_test

import (
	"encoding/json"
	"strings"
	"testing"

	"prenas/internal/printable"
)

// names that a terminal would obey, and how they are shown.
var names = map[string]string{
	"":    "",
	"cat": "cat",
	"Straße, 猫, कि, قط, 👩‍👧 ❤️": "Straße, 猫, कि, قط, 👩‍👧 ❤️",
	"a b":                   "a b",
	"back\\slash \"q\"":     "back\\slash \"q\"",
	"\x1b]0;title\x07":      `\x1b]0;title\a`,
	"\x1b[2J":               `\x1b[2J`,
	"\u009b2J":              `\u009b2J`,
	"a\u202egpj.exe":        `a\u202egpj.exe`,
	"\u2066x\u2069\u061c":   `\u2066x\u2069\u061c`,
	"line\u2028end\u2029":   `line\u2028end\u2029`,
	"\xff\xfe":              `\xff\xfe`,
	"good\rbad":             `good\rbad`,
	"two\nlines\tand a tab": `two\nlines\tand a tab`,
	"\x7f\x00\b":            `\x7f\x00\b`,
	"zero\u200bwidth\ufeff": `zero\u200bwidth\ufeff`,
	"tag\U000e0041":         `tag\U000e0041`,
	"a real \ufffd":         "a real \ufffd",
}

func TestName(t *testing.T) {
	for name, want := range names {
		if got := printable.Name(name); got != want {
			t.Errorf("%q is shown as %s, want %s", name, got, want)
		}
	}
}

func TestTextKeepsLinesAndTabs(t *testing.T) {
	if got := printable.Text("a\n\tb\x1b"); got != "a\n\tb\\x1b" {
		t.Errorf("got %q", got)
	}
}

// A name with a line end in it begins no message.
func TestMessage(t *testing.T) {
	got := printable.Message("x\nprenas: trained: no such file; there are\n  one\n  two")
	if want := "x\n  prenas: trained: no such file; there are\n  one\n  two"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestJSONMeansTheSame(t *testing.T) {
	for name := range names {
		text, err := json.Marshal(map[string]string{name: name})
		if err != nil {
			t.Fatal(err)
		}
		shown := printable.JSON(text)
		var got, want map[string]string
		if err := json.Unmarshal(shown, &got); err != nil {
			t.Fatalf("%s: %v", shown, err)
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		for k := range want {
			if got[k] != want[k] {
				t.Errorf("%s became %s", text, shown)
			}
		}
		if printable.Name(string(shown)) != string(shown) {
			t.Errorf("%q is not printable", shown)
		}
	}
}

// What is written byte by byte is shown as what is written at once.
func TestWriterJoinsPieces(t *testing.T) {
	const text = "Straße \x1b[0m 猫 \xff end\n"
	var b strings.Builder
	w := printable.Writer(&b)
	for i := range len(text) {
		if n, err := w.Write([]byte{text[i]}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if got, want := b.String(), printable.Text(text); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 classes", 1: "1 class", 2: "2 classes", 12000: "12000 classes"} {
		if got := printable.Count(n, "class"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
