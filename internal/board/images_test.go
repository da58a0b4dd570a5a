package board

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/browser"
	"prenas/internal/evaluate"
)

// grey is a PNG of one grey level.
func grey(t *testing.T, level uint8, width, height int) string {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = level
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pictured is a run with pictures: of what augmentation makes, and of one mistake, whose image has a
// name.
func pictured(t *testing.T, dir, name, image string) (run string) {
	t.Helper()
	run = copyRun(t, dir, name, allFiles...)
	write(t, filepath.Join(run, "augmented.png"), grey(t, 9, 60, 20))
	mistakes := grey(t, 200, 44, 44)
	write(t, filepath.Join(run, evaluate.MistakesFile), mistakes)
	text, err := os.ReadFile(filepath.Join(example, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var results map[string]any
	if err := json.Unmarshal(text, &results); err != nil {
		t.Fatal(err)
	}
	delete(results, "sha256")
	sum := sha256.Sum256([]byte(mistakes))
	results["mistakes_picture"] = map[string]any{"sha256": hex.EncodeToString(sum[:]), "side": 36}
	first := results["architectures"].([]any)[0].(map[string]any)
	first["per_class"] = []any{map[string]any{"class": 0, "images": 1, "correct": 0, "predicted": 0}, map[string]any{"class": 1, "images": 0, "correct": 0, "predicted": 1}}
	first["confusion"] = []any{[]int{0, 1, 1}}
	first["mistakes"] = []any{map[string]any{"image": 0, "name": image, "label": 0, "predicted": 1, "probability": 0.9, "picture": []int{4, 4}}}
	if text, err = json.Marshal(results); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(run, "results.json"), string(text))
	return run
}

// The pictures of a run are on its page, in a real browser and by its policy of contents; the name of
// a mistake leads to its file where the board may show it.
func TestPicturesInABrowser(t *testing.T) {
	dir, images := t.TempDir(), t.TempDir()
	shoe := filepath.Join(images, "a shoe.png")
	write(t, shoe, grey(t, 50, 7, 5))
	pictured(t, dir, "run", shoe)
	_, web := start(t, dir, Options{Images: []string{images}})
	page := browser.Open(t, web.URL+pageOf("run", "run"))
	page.Wait("the picture of augmentation", `document.querySelector("#augmented img").naturalWidth === 60`)
	browser.Eval[bool](page, `(document.querySelectorAll("#classes details").forEach((d) => { d.open = true; }), true)`)
	page.Wait("the thumbnail of the mistake", `document.querySelector("#classes svg.thumbnail").getBoundingClientRect().width === 64`)
	browser.Eval[bool](page, `(window.shown = new Image(), shown.src = document.querySelector("#classes th a").href, true)`)
	page.Wait("the image's file", `shown.naturalWidth === 7`)
}

// Pictures that are none, too large or of other results are left out and said; the rest stays.
func TestOddPictures(t *testing.T) {
	dir := t.TempDir()
	pictured(t, dir, "run", "/nowhere/x.png")
	cases := map[string]struct {
		file, content, want string
	}{
		"other results": {evaluate.MistakesFile, grey(t, 1, 44, 44), "is of other results"},
		"no picture":    {"augmented.png", "<svg onload=alert(1)>", "augmented.png: no picture"},
		"much too wide": {"augmented.png", grey(t, 1, 20000, 1), "20000 x 1 pixels"},
		"too large":     {"augmented.png", strings.Repeat("x", 9<<20), "at most"},
	}
	for what, c := range cases {
		write(t, filepath.Join(pictured(t, dir, what, "x.png"), c.file), c.content)
	}
	_, web := start(t, dir, Options{})
	if _, text := get(t, web.URL+pageOf("run", "run")); !strings.Contains(text, `id="augmented"`) || !strings.Contains(text, `viewBox="4 4 36 36"`) || !strings.Contains(text, "board images FOLDER") || strings.Contains(text, "<a href=\"file") {
		t.Error("the pictures are not on the page, or a link leads nowhere")
	}
	for what, c := range cases {
		status, text := get(t, web.URL+pageOf("run", what))
		if status != 200 || !strings.Contains(text, c.want) || !strings.Contains(text, "89.07") || strings.Contains(text, "<svg onload") {
			t.Errorf("%s: %d, the page lacks %q or the rest", what, status, c.want)
		}
	}
}

// Only images below the named folders are answered with, whatever a request or a link names.
func TestImagesOfNamedFoldersAlone(t *testing.T) {
	dir, images, outside := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "secret.png"), grey(t, 1, 2, 2))
	write(t, filepath.Join(images, "in.png"), grey(t, 1, 2, 2))
	write(t, filepath.Join(images, "text.png"), "<html><script>alert(1)</script>")
	write(t, filepath.Join(images, "empty.png"), "")
	if err := os.Symlink(filepath.Join(outside, "secret.png"), filepath.Join(images, "link.png")); err != nil {
		t.Skip(err)
	}
	_, web := start(t, dir, Options{Images: []string{images}})
	for name, want := range map[string]int{
		filepath.Join(images, "in.png"):                          http.StatusOK,
		filepath.Join(images, "text.png"):                        http.StatusNotFound,
		filepath.Join(images, "empty.png"):                       http.StatusNotFound,
		filepath.Join(images, "link.png"):                        http.StatusNotFound,
		images:                                                   http.StatusNotFound,
		filepath.Join(outside, "secret.png"):                     http.StatusNotFound,
		images + "/../" + filepath.Base(outside) + "/secret.png": http.StatusNotFound,
		"in.png": http.StatusNotFound,
		"":       http.StatusNotFound,
	} {
		r, err := http.Get(web.URL + "/image?" + url.Values{"name": {name}}.Encode())
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("%s: %d, want %d", name, r.StatusCode, want)
		}
		if want == http.StatusOK && r.Header.Get("Content-Type") != "image/png" {
			t.Errorf("%s is %s", name, r.Header.Get("Content-Type"))
		}
	}
	if _, err := Open(dir, Options{Images: []string{filepath.Join(images, "none")}}); !errors.Is(err, ErrFolder) {
		t.Errorf("a folder of images that is none: %v", err)
	}
}
