package mistaken

import (
	"errors"
	"strings"
	"testing"
)

func TestWhatStandsInAFilesPlace(t *testing.T) {
	for head, want := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n": "a Git LFS pointer",
		"\xef\xbb\xbf\n <!DOCTYPE html>\n<html>":                                    "an HTML page",
		"<html lang=\"en\">":                                                        "an HTML page",
		"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>":           "an answer that a server refuses with",
		"<?xml version=\"1.0\"?><annotation>":                                       "",
		"SUPERNET: {EMBED_DIM: 256}":                                                "",
		"\x80\x00\x00\x00\x00\x00\x00\x00{\"a\":":                                   "",
		"version: 1": "",
		"":           "",
	} {
		if name, advice := For([]byte(head)); name != want || (advice == "") != (want == "") {
			t.Errorf("%q: %q, %q; want %q", head, name, advice, want)
		}
	}
	bad := errors.New("malformed")
	if err := Instead([]byte("<html>"), bad); !errors.Is(err, bad) || !strings.Contains(err.Error(), "it is an HTML page, not the file itself: ") {
		t.Error(err)
	}
	if err := Instead([]byte("x"), bad); err != bad {
		t.Error(err)
	}
	if err := Instead([]byte("<html>"), nil); err != nil {
		t.Error(err)
	}
}
