package export

import (
	"bytes"
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"

	"prenas/pkg/space"
)

// What a card shows of names that are Markdown, HTML or control characters is the names.
func TestCardsShowNamesAsTheyAre(t *testing.T) {
	names := []string{
		"cat", "T-shirt/top", "sea_snake_2", "<script>alert(1)</script>", "[a](http://x.example)", "![i](http://x.example/p.png)", "*a* **b** _c_ ~~d~~",
		"`code` ``two``", "a | b", "# head", "&lt;b&gt;", `back\slash\`, "https://x.example/", "www.x.example", "me@x.example", "$x$", "<!-- c -->", "<img src=x onerror=y>",
	}
	hostile := append(names, "two\nlines\n\n# head", "\x1b]0;t\x07", "a\u202eb", "\xff")
	s, err := space.Load("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	info := Info{Classes: hostile, Data: Data{Source: "folder:`x` <b> | \n# y", Digest: "``"}}.describe(s.Model, s.Smallest())
	for _, name := range names {
		info.Licence = name
		text, err := Card{Info: info, File: name, Form: "safetensors", Command: "prenas train `x`\n# y"}.markdown()
		if err != nil {
			t.Fatal(err)
		}
		var page bytes.Buffer
		if err := goldmark.New(goldmark.WithExtensions(extension.GFM)).Convert(text, &page); err != nil {
			t.Fatal(err)
		}
		if made := regexp.MustCompile(`<(script|a|img|em|strong|del|b)\b|<!--`).FindString(page.String()); made != "" {
			t.Errorf("%q makes %s", name, made)
		}
		if n := strings.Count(page.String(), "<h1"); n != 1 {
			t.Errorf("%q makes %d titles", name, n)
		}
		shown := html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page.String(), ""))
		if got := strings.Count(shown, name); got < 3 { // as the title, the licence and a class
			t.Errorf("%q is shown %d times, want 3:\n%s", name, got, shown)
		}
		for _, raw := range []string{"\x1b", "\u202e", "\xff", "\x07"} {
			if bytes.Contains(text, []byte(raw)) {
				t.Errorf("the card has %q", raw)
			}
		}
	}
}
