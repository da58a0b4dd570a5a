// Package browser gives tests a real browser, headless Chromium, to load pages in as a person
// would. Nothing but tests needs it.
package browser

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// patience with a page on a busy machine.
const patience = 2 * time.Minute

// names of the browser in the distributions.
var names = []string{"chromium", "chromium-browser", "google-chrome", "chrome"}

// Page is a page in a browser of its own, which ends with the test.
type Page struct {
	tb  testing.TB
	ctx context.Context
}

// Open loads a page in headless Chromium. Where there is none the test is skipped, saying
// why, or fails if PRENAS_NEED_BROWSER is 1, as in .ci/run. The test fails at its end if the
// page's scripts threw, or if the browser refused something by the page's policy of contents.
func Open(tb testing.TB, url string) *Page {
	tb.Helper()
	program := ""
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		const why = "there is no Chromium: apt-get install chromium brings it"
		if os.Getenv("PRENAS_NEED_BROWSER") == "1" {
			tb.Fatal(why)
		}
		tb.Skip(why)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program),
		chromedp.NoSandbox, // root, as containers are, may not have one; the pages are ours
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	tb.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	tb.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	tb.Cleanup(cancel)
	p := &Page{tb: tb, ctx: ctx}
	messages := chromedp.Console(ctx)
	read := make(chan []string, 1)
	go func() {
		var refused []string
		for m, err := range messages {
			if err != nil {
				break
			}
			if m.IsException() || m.Source == "security" || m.Source == "violation" {
				refused = append(refused, m.String())
			}
		}
		read <- refused
	}()
	tb.Cleanup(func() {
		cancel()
		for _, text := range <-read {
			tb.Errorf("the browser says of the page: %s", text)
		}
	})
	p.Size(1280, 900, "light")
	p.do(chromedp.Navigate(url))
	return p
}

func (p *Page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.tb.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.tb.Fatalf("browser: %v", err)
	}
}

// Size sets the window's width and height in pixels and the colours that the reader
// prefers, "light" or "dark".
func (p *Page) Size(width, height int, colours string) {
	p.tb.Helper()
	p.do(chromedp.EmulateViewport(int64(width), int64(height)))
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}}}
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, media); err != nil {
		p.tb.Fatalf("browser: %v", err)
	}
}

// Eval is the value of an expression in JavaScript, converted to T.
func Eval[T any](p *Page, expression string) T {
	p.tb.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.tb.Fatalf("browser: %s: %v", expression, err)
	}
	return value
}

// Wait waits until an expression in JavaScript is true.
func (p *Page) Wait(what, expression string) {
	p.tb.Helper()
	for began := time.Now(); !Eval[bool](p, "!!("+expression+")"); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > patience {
			p.tb.Fatalf("%s did not happen; the page says:\n%s", what, Eval[string](p, "document.body.innerText"))
		}
	}
}

// Click clicks on what a CSS selector finds first.
func (p *Page) Click(selector string) {
	p.tb.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

// Press presses keys, as in a form: "\t", "\r".
func (p *Page) Press(keys string) {
	p.tb.Helper()
	p.do(chromedp.KeyEvent(keys))
}

// Drop drops a file on what a CSS selector finds first.
func (p *Page) Drop(selector, name string, content []byte) {
	p.tb.Helper()
	Eval[bool](p, fmt.Sprintf(`(() => {
		const bytes = Uint8Array.from(atob(%q), (c) => c.charCodeAt(0));
		const dataTransfer = new DataTransfer();
		dataTransfer.items.add(new File([bytes], %q));
		for (const type of ["dragenter", "dragover", "drop"])
			document.querySelector(%q).dispatchEvent(new DragEvent(type, {dataTransfer, bubbles: true, cancelable: true}));
		return true;
	})()`, base64.StdEncoding.EncodeToString(content), name, selector))
}

// Overflow is what is wider than the window, outside of what scrolls by itself; empty: the
// page need not be moved sideways.
func (p *Page) Overflow() string {
	p.tb.Helper()
	return strings.Join(Eval[[]string](p, `document.documentElement.scrollWidth <= window.innerWidth ? [] :
		[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1)
			.map((e) => e.tagName + "." + e.className)`), ", ")
}

// Screenshot is a PNG of the whole page.
func (p *Page) Screenshot() []byte {
	p.tb.Helper()
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.tb.Fatalf("browser: %v", err)
	}
	return png
}
