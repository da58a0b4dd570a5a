// Package mistaken knows what stands in the place of files that were to be fetched: pointers of
// Git LFS, pages that a server sent. Whoever cannot read a file asks it, and
// says so instead of what is wrong with bytes that were never the file's.
package mistaken

import (
	"bytes"
	"fmt"
)

// HeadLen is how many of a file's first bytes For looks at.
const HeadLen = 512

// For says what a file is by its first bytes, as in a sentence, and what can be done about it.
// Both are empty for what may be the file itself.
func For(head []byte) (name, advice string) {
	text := bytes.ToLower(bytes.TrimSpace(bytes.TrimPrefix(head[:min(len(head), HeadLen)], []byte("\xef\xbb\xbf"))))
	begins := func(starts ...string) bool {
		for _, s := range starts {
			if bytes.HasPrefix(text, []byte(s)) {
				return true
			}
		}
		return false
	}
	const again = "a server sent it in place of the file: fetch it again"
	switch {
	case begins("version https://git-lfs.github.com/spec/"):
		return "a Git LFS pointer", "fetch the file itself: git lfs pull"
	case begins("<!doctype html", "<html", "<head", "<body"):
		return "an HTML page", again
	case begins("<?xml", "<error>") && bytes.Contains(text, []byte("<error>")):
		return "an answer that a server refuses with", again
	}
	return "", ""
}

// Instead is err, or, where a file's first bytes tell, what the file is instead of what was
// to be read.
func Instead(head []byte, err error) error {
	if name, advice := For(head); err != nil && name != "" {
		return fmt.Errorf("it is %s, not the file itself: %s (%w)", name, advice, err)
	}
	return err
}
