package policy

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// root is the repository's, seen from this package.
const root = "../.."

// file is a source or text file of the repository; path is slashed, from the root.
type file struct {
	path string
	text []byte
}

// files are all files of the repository but those that git and the build keep.
func files(t *testing.T) []file {
	t.Helper()
	var list []file
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			if slices.Contains([]string{".git", "bin", "runs"}, rel) {
				return filepath.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || rel == ".git" { // a file in a second work tree
			return nil
		}
		text, err := os.ReadFile(name)
		list = append(list, file{rel, text})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func goFiles(t *testing.T) []file {
	t.Helper()
	return slices.DeleteFunc(files(t), func(f file) bool { return path.Ext(f.path) != ".go" })
}

func importsOf(f file) []string {
	parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, parser.ImportsOnly)
	if err != nil {
		return nil // the compiler says it better
	}
	var list []string
	for _, spec := range parsed.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil {
			list = append(list, name)
		}
	}
	return list
}

func TestGoFilesAreFormatted(t *testing.T) {
	for _, f := range goFiles(t) {
		formatted, err := format.Source(f.text)
		if err != nil {
			t.Errorf("%s: %v", f.path, err)
		} else if !bytes.Equal(formatted, f.text) {
			t.Errorf("%s is not formatted: run gofmt -w %s", f.path, f.path)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Errorf("%s: %v", f.path, err)
			continue
		}
		dir := path.Dir(f.path)
		documented[dir] = documented[dir] || hasText(parsed.Doc)
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no doc comment: say in its doc.go what it promises", dir)
		}
	}
}

func hasText(doc *ast.CommentGroup) bool { return doc != nil && strings.TrimSpace(doc.Text()) != "" }

// machinePath matches absolute paths that exist on the machine of whoever wrote them, but
// not on others. The names are split, so that this file does not match itself.
var machinePath = regexp.MustCompile(`(^|[^A-Za-z0-9_.~$}/-])/(` + strings.Join([]string{"wo" + "rk", "ro" + "ot", "ho" + "me", "Us" + "ers"}, "|") + `)(/|\b)`)

func TestNoPathOfAMachine(t *testing.T) {
	for _, f := range files(t) {
		if bytes.IndexByte(f.text, 0) >= 0 {
			continue // tensors, not text
		}
		for number, line := range bytes.Split(f.text, []byte("\n")) {
			if machinePath.Match(line) {
				t.Errorf("%s:%d names a path of a machine: %s", f.path, number+1, bytes.TrimSpace(line))
			}
		}
	}
}

func TestMachinePath(t *testing.T) {
	for text, want := range map[string]bool{
		`open("/` + `work/x")`:        true,
		"/" + `root`:                  true,
		"see /" + "home/me/data":      true,
		"./" + "work/x":               false,
		"internal/" + "work":          false,
		"and/" + "or":                 false,
		"$HOME/" + "root":             false,
		"example.org/" + "home/":      false,
		"/" + "workshop is no folder": false,
	} {
		if got := machinePath.MatchString(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// maxLine is how many characters a line of Markdown may have: what a terminal and a
// difference show side by side. Rows of tables cannot be broken, so they are exempt.
const maxLine = 100

func TestLinesOfMarkdownAreShort(t *testing.T) {
	for _, f := range files(t) {
		if path.Ext(f.path) != ".md" {
			continue
		}
		for number, line := range strings.Split(string(f.text), "\n") {
			if n := utf8.RuneCountInString(line); n > maxLine && !strings.HasPrefix(line, "|") {
				t.Errorf("%s:%d has %d characters, more than %d", f.path, number+1, n, maxLine)
			}
		}
	}
}
