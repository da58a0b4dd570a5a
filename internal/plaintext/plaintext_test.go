package plaintext

import (
	"io"
	"strings"
	"testing"
)

func TestCodings(t *testing.T) {
	const want = "Katze\r\nHündin\n\xff"
	for name, coded := range map[string]string{
		"UTF-8":                 want,
		"UTF-8 with a mark":     "\xef\xbb\xbf" + want,
		"empty":                 "",
		"UTF-16, little end":    "\xff\xfeK\x00\xfc\x00",
		"UTF-16, big end":       "\xfe\xff\x00K\x00\xfc",
		"a mark and no more":    "\xef\xbb\xbf",
		"a mark further behind": "a\xef\xbb\xbf",
	} {
		expect := coded
		switch {
		case strings.HasPrefix(name, "UTF-16"):
			expect = "Kü"
		case strings.HasPrefix(coded, "\xef\xbb\xbf"):
			expect = coded[3:]
		}
		got, err := io.ReadAll(Reader(strings.NewReader(coded)))
		if err != nil || string(got) != expect {
			t.Errorf("%s: %q, want %q (%v)", name, got, expect, err)
		}
		if got, err := UTF8([]byte(coded)); err != nil || string(got) != expect {
			t.Errorf("%s: %q at once, want %q (%v)", name, got, expect, err)
		}
	}
}
