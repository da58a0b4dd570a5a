package job

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/data"
)

// A list that is damaged, or cannot be written, is told, and loses nothing that is known.
func TestListsOfBadImagesStopNothing(t *testing.T) {
	left := func() *data.Skipped {
		var s data.Skipped
		s.Add(&data.DamagedImage{Name: "b.png", Err: errors.New("why b")})
		return &s
	}
	note := func(run string) string {
		var said []string
		noteSkipped(run, left(), func(line string) { said = append(said, line) })
		return strings.Join(said, "\n")
	}
	run := t.TempDir()
	path := filepath.Join(run, SkippedFile)
	if err := os.WriteFile(path, []byte(`{"image":"a.png","why":"why a"}`+"\n"+`{"image":"c.p`), 0o644); err != nil {
		t.Fatal(err)
	}
	if said := note(run); !strings.Contains(said, "warning: "+path+": lines that were damaged are lost (1)") {
		t.Errorf("it says %q", said)
	}
	want := `{"image":"a.png","why":"why a"}` + "\n" + `{"image":"b.png","why":"why b"}` + "\n"
	if text, err := os.ReadFile(path); err != nil || string(text) != want {
		t.Errorf("the list is now %q, %v", text, err)
	}
	if said := note(filepath.Join(run, "gone")); !strings.Contains(said, "warning: what was left out is not listed: ") || !strings.Contains(said, "b.png: why b") {
		t.Errorf("it says %q", said)
	}
}
