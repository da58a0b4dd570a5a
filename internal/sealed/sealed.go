// Package sealed is for JSON files of this program's own that carry a digest of themselves:
// the last key of the object, sha256, is the SHA-256 of the file as it is with zeros in the
// digest's place. A bit that changes anywhere in such a file is seen when it is read.
//
// A file without the key, of an earlier version or edited on purpose, is read as it is, and told
// once (Tell). So whoever edits a file takes the key out of it.
package sealed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"prenas/internal/fsys"
	"prenas/internal/mistaken"
	"prenas/internal/strictjson"
)

// ErrDamaged: a file whose bytes do not agree with its digest.
var ErrDamaged = errors.New("its bytes do not agree with the digest in it, " + Key +
	": it was damaged, or edited; put it back or, if the change is wanted, remove that key")

// Key of the digest.
const Key = "sha256"

var zeros = strings.Repeat("0", 2*sha256.Size)

// Marshal writes a value that is an object as JSON with its digest; indent is that of
// json.MarshalIndent, empty for one line.
func Marshal(value any, indent string) ([]byte, error) {
	var text []byte
	var err error
	if indent == "" {
		text, err = json.Marshal(value)
	} else {
		text, err = json.MarshalIndent(value, "", indent)
	}
	if err != nil {
		return nil, err
	}
	open, isObject := bytes.CutSuffix(text, []byte("}"))
	if !isObject {
		return nil, fmt.Errorf("%.20s is no object, which a digest could be put into", text)
	}
	open = bytes.TrimRight(open, "\n")
	colon, end := ":", "}"
	comma := ","
	if bytes.Equal(open, []byte("{")) {
		comma = ""
	}
	if indent != "" {
		comma, colon, end = comma+"\n"+indent, ": ", "\n}"
	}
	text = fmt.Appendf(bytes.Clone(open), "%s%q%s%q%s\n", comma, Key, colon, zeros, end)
	at := bytes.LastIndex(text, []byte(zeros))
	sum := sha256.Sum256(text)
	hex.Encode(text[at:], sum[:])
	return text, nil
}

// Write writes a value that is an object, whole or not at all, indented and with its digest.
func Write(f fsys.FS, path string, value any) error {
	text, err := Marshal(value, "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fsys.WriteAtomic(f, path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

var (
	seal = regexp.MustCompile(`(,?\s*"` + Key + `"\s*:\s*")([0-9a-f]{64})"(\s*\}\s*)$`)
	// likeSeal is what a damaged one may look like: a last value of about a digest's length.
	// No file from before there were digests ends so.
	likeSeal = regexp.MustCompile(`"[^"]{0,12}"\s*:\s*"[^"]{48,80}"\s*\}\s*$`)
)

// Check splits the text of an object into what the digest is of, without the digest's key,
// and tells whether there was one. It returns ErrDamaged where they do not agree.
func Check(text []byte) (content []byte, has bool, err error) {
	tail := max(0, len(text)-512)
	at := seal.FindSubmatchIndex(text[tail:])
	if at == nil {
		if likeSeal.Match(text[tail:]) {
			return nil, true, ErrDamaged
		}
		return text, false, nil
	}
	h := sha256.New()
	h.Write(text[:tail+at[4]])
	io.WriteString(h, zeros) // a hash's Write never fails
	h.Write(text[tail+at[5]:])
	if hex.EncodeToString(h.Sum(nil)) != string(text[tail+at[4]:tail+at[5]]) {
		return nil, true, ErrDamaged
	}
	return append(bytes.Clone(text[:tail+at[0]]), text[tail+at[6]:tail+at[7]]...), true, nil
}

// Lines adds to lines of JSON one more, an object with the digest of all before it alone.
func Lines(text []byte) []byte {
	sum := sha256.Sum256(text)
	return fmt.Appendf(bytes.Clone(text), "{%q:%q}\n", Key, hex.EncodeToString(sum[:]))
}

var lineSeal = regexp.MustCompile(`(?:^|\n)(\{"` + Key + `":"([0-9a-f]{64})"\}\n)$`)

// CheckLines is Check of what Lines wrote.
func CheckLines(text []byte) (lines []byte, has bool, err error) {
	tail := max(0, len(text)-256)
	at := lineSeal.FindSubmatchIndex(text[tail:])
	if at == nil {
		digits := 0 // of what may be a damaged one
		for _, c := range text[max(0, len(text)-2*sha256.Size-len("\"}\n")-1):] {
			if '0' <= c && c <= '9' || 'a' <= c && c <= 'f' {
				digits++
			}
		}
		if digits >= 2*sha256.Size-2 {
			return nil, true, ErrDamaged
		}
		return text, false, nil
	}
	lines = text[:tail+at[2]]
	if sum := sha256.Sum256(lines); hex.EncodeToString(sum[:]) != string(text[tail+at[4]:tail+at[5]]) {
		return nil, true, ErrDamaged
	}
	return lines, true, nil
}

// Read reads a file that Write wrote, or one without a digest, into a value. Errors name the
// file.
func Read(f fsys.FS, path string, into any) error {
	text, err := fsys.ReadText(f, path)
	if err != nil {
		return err
	}
	if err := Parse(path, text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Parse is Read of a file's text; its errors do not name the file.
func Parse(path string, text []byte, into any) error {
	content, has, err := Check(text)
	if err == nil {
		if !has {
			Told(path)
		}
		err = mistaken.Instead(text, strictjson.Unmarshal(content, into))
	}
	return err
}

var tell struct {
	sync.Mutex
	to   func(path string)
	told map[string]bool
}

// Tell makes to hear of each file without a digest that is read, once.
func Tell(to func(path string)) {
	tell.Lock()
	defer tell.Unlock()
	tell.to, tell.told = to, map[string]bool{}
}

// Told is for readers that call Check themselves: a file has no digest.
func Told(path string) {
	tell.Lock()
	defer tell.Unlock()
	if tell.to != nil && !tell.told[path] {
		tell.told[path] = true
		tell.to(path)
	}
}
