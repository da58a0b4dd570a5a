package serve

import (
	"testing"
	"time"

	"prenas/internal/browser"
)

// An image that is dropped on the page is asked of all models, in a real browser.
func TestPageInABrowser(t *testing.T) {
	fakes := map[string]*fake{"small": newFake(0.7, time.Millisecond), "large": newFake(0.9, 5*time.Millisecond)}
	_, web, _ := start(t, Options{}, fakes)
	page := browser.Open(t, web.URL)
	page.Wait("the list of models", `document.querySelectorAll("#models tr").length === 2`)
	page.Drop("#drop", "shoe.png", picture(200, 28, 28))
	page.Wait("the answers", `document.getElementById("status").textContent === "Done."`)
	if got := browser.Eval[[]string](page, `[...document.querySelectorAll("#models tr")].map((r) => r.dataset.model)`); got[0] != "large" || got[1] != "small" {
		t.Errorf("the models are %v, want the most accurate first", got)
	}
	for _, name := range []string{"large", "small"} {
		row := `document.querySelector("tr[data-model=` + name + `]")`
		// A class's name is text, whatever is in it.
		if got := browser.Eval[string](page, row+`.querySelector("td.answer .class").innerText`); got != "<b>dog</b>\n78.4 %" {
			t.Errorf("%s answers %q", name, got)
		}
		if got := browser.Eval[float64](page, `parseFloat(`+row+`.cells[6].textContent)`); got <= 0 {
			t.Errorf("%s took %v ms", name, got)
		}
	}
	if got := browser.Eval[string](page, `document.getElementById("shown").alt`); got != "shoe.png" {
		t.Errorf("the picture shown is %q", got)
	}

	page.Drop("#drop", "text.png", []byte("no image"))
	page.Wait("the second answers", `document.querySelectorAll("#models .error").length === 2`)

	for _, width := range []int{400, 1600} {
		for _, colours := range []string{"light", "dark"} {
			page.Size(width, 900, colours)
			if wide := page.Overflow(); wide != "" {
				t.Errorf("at %d pixels the page is too wide: %s", width, wide)
			}
		}
	}
}
