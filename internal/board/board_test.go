package board

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prenas/internal/browser"
)

// example is a run directory that was measured.
const example = "../report/testdata/run"

// copyRun puts the example under a name below a folder, with some of its files.
func copyRun(t *testing.T, dir, name string, files ...string) string {
	t.Helper()
	run := filepath.Join(dir, name)
	if err := os.MkdirAll(run, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(example, file))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(run, file), string(text))
	}
	return run
}

var allFiles = []string{"manifest.json", "candidates.json", "metrics.jsonl", "results.json"}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// start shows a folder.
func start(t *testing.T, dir string, o Options) (*Board, *httptest.Server) {
	t.Helper()
	if o.Every == 0 {
		o.Every = 5 * time.Millisecond
	}
	b, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(b.Handler())
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, web
}

func get(t *testing.T, address string) (status int, text string) {
	t.Helper()
	r, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func pageOf(kind string, ids ...string) string {
	return "/" + kind + "?" + url.Values{"id": ids}.Encode()
}

func line(step int, loss float64) string {
	return fmt.Sprintf(`{"kind":"train","step":%d,"epoch":1,"lr":0.001,"loss":%v,"archs":[{"arch":"e64-h2x2_1x2-r2x2_3_2","steps":3,"loss":%v}]}`+"\n", step, loss, loss)
}

func TestListAndPages(t *testing.T) {
	dir := t.TempDir()
	copyRun(t, dir, "deep/er/one", allFiles...)
	copyRun(t, dir, "<b>two</b>", allFiles...)
	_, web := start(t, dir, Options{})
	status, list := get(t, web.URL)
	for _, want := range []string{"1 to 2 of 2 runs", "deep/er/one", "&lt;b&gt;two&lt;/b&gt;", "89.07 (88.44 to 89.67)"} {
		if status != 200 || !strings.Contains(list, want) {
			t.Errorf("%d, the list lacks %q", status, want)
		}
	}
	if strings.Contains(list, "<b>") {
		t.Error("a folder's name became markup")
	}
	for _, id := range []string{"deep/er/one", "<b>two</b>"} {
		status, text := get(t, web.URL+pageOf("run", id))
		for _, want := range []string{"Training loss per architecture", "e96-h3x4_2-r3_3.5x2_3x2", "88.44 to 89.67", "recipe.optimizer.lr"} {
			if status != 200 || !strings.Contains(text, want) {
				t.Errorf("%d, the page of %s lacks %q", status, id, want)
			}
		}
	}
	_, text := get(t, web.URL+"/?q=DEEP")
	if !strings.Contains(text, "1 to 1 of 1 run") {
		t.Error("the list is not searched by name")
	}
}

// What a held-out accuracy of so many images can tell is beside it wherever one is shown.
func TestHeldOutAccuracyHasItsInterval(t *testing.T) {
	dir := t.TempDir()
	const line = `{"kind": "eval", "step": 600, "epoch": 6, "top1": 0.75, "images": 400, "archs": [{"arch": "e96-h3x4_2-r3_3.5x2_3x2", "top1": 0.75, "top5": 1, "loss": 1}]}`
	for _, name := range []string{"a", "b"} {
		appendTo(t, filepath.Join(copyRun(t, dir, name, allFiles...), "metrics.jsonl"), line+"\n")
	}
	_, web := start(t, dir, Options{})
	const interval = "70.53 to 78.99" // Wilson's, of 300 of 400
	for page, want := range map[string]string{
		"": "75.00 (" + interval + ")", pageOf("run", "a"): "75.00 % of 400 held-out images, 95 % interval " + interval,
		pageOf("compare", "a", "b"): "b: 75.00 % of 400 held-out images, 95 % interval " + interval,
	} {
		if _, text := get(t, web.URL+page); !strings.Contains(text, want) {
			t.Errorf("page %q lacks %q", page, want)
		}
	}
}

// What differs in the manifests is shown, and what is the same is counted.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	copyRun(t, dir, "a", allFiles...)
	copyRun(t, dir, "b", allFiles...)
	manifest, err := os.ReadFile(filepath.Join(example, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "b/manifest.json"), strings.Replace(string(manifest), `"batch": 100`, `"batch": 200`, 1))
	_, web := start(t, dir, Options{})
	status, text := get(t, web.URL+pageOf("compare", "a", "b"))
	if status != 200 || !strings.Contains(text, "<code>recipe.batch</code></th><td><code>100</code></td><td><code>200</code></td>") {
		t.Errorf("%d: the batches that differ are not shown", status)
	}
	if strings.Contains(text, "recipe.epochs") {
		t.Error("a key that is the same in both is shown as a difference")
	}
	if _, text := get(t, web.URL+pageOf("compare", "a")); !strings.Contains(text, "two or more") {
		t.Error("one run is compared with nothing")
	}
}

// No path leaves the folder: neither in a request nor through a link.
func TestNothingOutsideIsRead(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	copyRun(t, outside, "secret", allFiles...)
	run := copyRun(t, dir, "run", "manifest.json", "candidates.json", "metrics.jsonl")
	if err := os.Symlink(filepath.Join(outside, "secret/results.json"), filepath.Join(run, "results.json")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "linked")); err != nil {
		t.Skip(err)
	}
	search := filepath.Join(dir, "found")
	for _, name := range []string{".json", ".meta.json"} {
		if err := os.Symlink(filepath.Join(outside, "secret/candidates.json"), search+name); err != nil {
			t.Skip(err)
		}
	}
	_, web := start(t, dir, Options{})
	if _, list := get(t, web.URL); strings.Contains(list, "linked") || strings.Contains(list, "found") || !strings.Contains(list, "1 to 1 of 1") {
		t.Error("a link out of the folder is in the list")
	}
	if _, text := get(t, web.URL+pageOf("run", "run")); strings.Contains(text, "89.07") {
		t.Error("results outside of the folder are shown")
	}
	for _, id := range []string{"linked", "../" + filepath.Base(outside) + "/secret", filepath.Join(outside, "secret"), "run/../run", "run/", "..", "", "/", "run\x00"} {
		for _, kind := range []string{"run", "search", "audit"} {
			address := pageOf(kind, id)
			for _, address := range []string{address, "/events?of=" + url.QueryEscape(address)} {
				if status, text := get(t, web.URL+address); status != http.StatusNotFound || strings.Contains(text, "89.07") {
					t.Errorf("%s: %d", address, status)
				}
			}
		}
	}
	for _, path := range []string{"/run/manifest.json", "/..%2f..%2fetc/passwd", "/static/../page.html"} {
		if status, _ := get(t, web.URL+path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
}

// A site whose name points to this machine may not ask, since a browser would let it read.
func TestOtherNamesAreRefused(t *testing.T) {
	dir := t.TempDir()
	copyRun(t, dir, "run", allFiles...)
	b, _ := start(t, dir, Options{Hosts: []string{"gpu1.example.org"}})
	for host, want := range map[string]int{
		"localhost:8090": 200, "LOCALHOST": 200, "127.0.0.1:1": 200, "[::1]:8090": 200, "192.168.0.7:8090": 200, "gpu1.example.org:8090": 200, "GPU1.example.org.": 200,
		"evil.example.com:8090": 421, "localhost.evil.com": 421, "127.0.0.1.nip.io": 421, "": 421, "gpu1.example.org.evil.com": 421, "evil.com:127.0.0.1": 421,
	} {
		for _, path := range []string{"/", "/board.js", pageOf("run", "run")} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			b.Handler().ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("host %q, %s: %d, want %d", host, path, w.Code, want)
			}
			if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "script-src 'self';") {
				t.Errorf("policy %q", policy)
			}
		}
	}
}

// event waits for the next event.
func event(t *testing.T, r *bufio.Reader) (c change) {
	t.Helper()
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if data, is := strings.CutPrefix(text, "data: "); is {
			if err := json.Unmarshal([]byte(data), &c); err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
}

func openEvents(t *testing.T, address string) *bufio.Reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close() })
	return bufio.NewReader(r.Body)
}

func sectionOf(c change, id string) string {
	for _, s := range c.Sections {
		if s.ID == id {
			return s.HTML
		}
	}
	return ""
}

// Events have the sections that changed; a journal that was cut, as --resume does, or put anew is read
// from its beginning.
func TestEvents(t *testing.T) {
	dir := t.TempDir()
	run := copyRun(t, dir, "run", "manifest.json", "candidates.json", "results.json")
	metrics := filepath.Join(run, "metrics.jsonl")
	write(t, metrics, line(10, 2.5)+line(20, 2.25))
	_, web := start(t, dir, Options{})
	r := openEvents(t, web.URL+"/events?of="+url.QueryEscape(pageOf("run", "run")))
	first := event(t, r)
	if text := sectionOf(first, "training"); !strings.Contains(text, "<td>2.5</td>") || !strings.Contains(text, "<td>2.25</td>") {
		t.Errorf("the first event has not what was there: %q", text)
	}
	appendTo(t, metrics, line(30, 2.125)+`{"kind":"train","step":40,`)
	second := event(t, r)
	if text := sectionOf(second, "training"); !strings.Contains(text, "<td>2.125</td>") || strings.Contains(text, "damaged") {
		t.Errorf("the second event: %q", text)
	}
	if text := sectionOf(second, "settings"); text != "" {
		t.Error("a section that did not change is sent again")
	}
	appendTo(t, metrics, strings.TrimPrefix(line(40, 1.75), `{"kind":"train","step":40,`))
	if text := sectionOf(event(t, r), "training"); !strings.Contains(text, "<td>1.75</td>") {
		t.Errorf("a line that was written in two parts: %q", text)
	}
	write(t, metrics, line(10, 2.5)+line(20, 1.125)+line(30, 1)+line(40, 0.5)+line(50, 0.25)) // longer, and other
	if text := sectionOf(event(t, r), "training"); strings.Contains(text, "<td>2.25</td>") || !strings.Contains(text, "<td>0.25</td>") {
		t.Errorf("a journal that was put anew: %q", text)
	}
}

// The curve of a run grows on its page in a real browser while the run goes on.
func TestLiveInABrowser(t *testing.T) {
	dir := t.TempDir()
	run := copyRun(t, dir, "a run", "manifest.json", "candidates.json", "results.json")
	metrics := filepath.Join(run, "metrics.jsonl")
	write(t, metrics, line(10, 2.5)+line(20, 2.25))
	_, web := start(t, dir, Options{})
	page := browser.Open(t, web.URL)
	page.Click(`#list tbody a`)
	page.Wait("the run's page", `document.title.startsWith("a run")`)
	points := `document.querySelector("#training svg .s0 .curve").getAttribute("points").split(" ").length`
	page.Wait("the first curve", points+" === 2")
	page.Wait("the connection", `document.getElementById("live").textContent.startsWith("Live")`)
	browser.Eval[bool](page, `(document.querySelector("#training details").open = true)`)
	for i := range 5 {
		appendTo(t, metrics, line(30+10*i, 2-0.25*float64(i)))
		page.Wait("a longer curve", fmt.Sprintf("%s === %d", points, 3+i))
	}
	if !browser.Eval[bool](page, `document.querySelector("#training details").open`) {
		t.Error("a table that the reader had opened is closed")
	}
	if got := browser.Eval[string](page, `document.querySelector("#training details tbody tr:last-child").innerText.trim()`); got != "70\t1" {
		t.Errorf("the table beside the chart ends with %q", got)
	}
	for _, width := range []int{400, 1600} {
		for _, colours := range []string{"light", "dark"} {
			page.Size(width, 900, colours)
			if wide := page.Overflow(); wide != "" {
				t.Errorf("at %d pixels the page is too wide: %s", width, wide)
			}
			if small := browser.Eval[float64](page, smallest); small < 8 {
				t.Errorf("at %d pixels text of a chart is %.1f pixels high", width, small)
			}
			if got := browser.Eval[string](page, unreadable); got != "" {
				t.Errorf("in %s colours this has too little contrast: %s", colours, got)
			}
		}
	}
	// By keyboard and screen reader: every chart has a name and a table, every region that scrolls
	// can be focused, every cell of a header says of what it is.
	for what, query := range map[string]string{
		"a chart without a name":         `svg:not([aria-label])`,
		"a chart without a table":        `figure.chart:not(:has(details table))`,
		"a scrolling region, no focus":   `.wide:not([tabindex="0"][aria-label])`,
		"a header without a scope":       `th:not([scope])`,
		"a control without a name":       `input:not([aria-label]):not(label input)`,
		"an image without a description": `img:not([alt])`,
	} {
		if n := browser.Eval[int](page, fmt.Sprintf("document.querySelectorAll(%q).length", query)); n != 0 {
			t.Errorf("%s: %d times", what, n)
		}
	}
}

// smallest is the height in pixels of the smallest text of a chart.
const smallest = `Math.min(...[...document.querySelectorAll(".chart svg text")].map((t) => {
	const svg = t.ownerSVGElement;
	return parseFloat(getComputedStyle(t).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
}))`

// unreadable names text whose contrast with the page is below 4.5, as WCAG 2.1 AA wants it.
const unreadable = `(() => {
	const light = (c) => {
		const [r, g, b] = c.match(/[\d.]+/g).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const page = light(getComputedStyle(document.body).backgroundColor);
	for (const e of document.querySelectorAll("h1, h2, p, a, th, td, caption, summary, svg text")) {
		const style = getComputedStyle(e), own = light(e.namespaceURI.endsWith("svg") ? style.fill : style.color);
		const contrast = (Math.max(page, own) + 0.05) / (Math.min(page, own) + 0.05);
		if (contrast < 4.5) return e.tagName + " " + e.textContent + " " + contrast;
	}
	return "";
})()`

// Folders that somebody made to break the board are shown, or said to be broken; nothing crashes.
func TestHostileRuns(t *testing.T) {
	dir := t.TempDir()
	names := []string{}
	add := func(name string, files map[string]string) {
		run := copyRun(t, dir, name, allFiles...)
		for file, text := range files {
			write(t, filepath.Join(run, file), text)
		}
		names = append(names, name)
	}
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	add("deep", map[string]string{"manifest.json": deep, "metrics.jsonl": deep + "\n"})
	add("wide", map[string]string{"manifest.json": `{"k":{` + strings.Repeat(`"x":1,`, 50000) + `"y":2}}`})
	add("numbers", map[string]string{"metrics.jsonl": `{"kind":"train","step":-9223372036854775808,"loss":1e308,"lr":-1e308,"archs":[{"arch":"e64-h2x2_1x2-r2x2_3_2","loss":1e308}]}` + "\n" +
		`{"kind":"train","step":9223372036854775807,"loss":-1e308,"archs":[{"arch":"e64-h2x2_1x2-r2x2_3_2","loss":-1e308}]}` + "\n" + `{"kind":"train","step":1,"loss":1e999}` + "\n",
		"timing.jsonl": `{"step":-9223372036854775808,"time":1e300,"images_per_second":1e-320}` + "\n"})
	add("long", map[string]string{"metrics.jsonl": strings.Repeat("x", 3<<20) + "\n" + line(1, 1) + strings.Repeat("y", 3<<20)})
	add("nulls", map[string]string{"manifest.json": "null", "candidates.json": "null", "results.json": "null", "metrics.jsonl": "null\n[]\n{}\n\"\"\n"})
	add("lists", map[string]string{"manifest.json": "[]", "candidates.json": "[]", "results.json": "[]"})
	add("empty", map[string]string{"manifest.json": "", "candidates.json": "", "results.json": "", "metrics.jsonl": ""})
	add("bytes", map[string]string{"manifest.json": "\x00\xff", "candidates.json": "\xfe", "metrics.jsonl": "\x00\n\xff\n"})
	add("markup", map[string]string{"metrics.jsonl": `{"kind":"</script><script>alert(1)</script>"}` + "\n" + `{"kind":"not_finite","step":1,"why":"<img src=x onerror=alert(1)>"}` + "\n",
		"manifest.json": `{"<svg onload=alert(1)>":"</table><script>alert(1)</script>"}`})
	add("archs", map[string]string{"results.json": `{"images":1,"step":1,"architectures":[{"arch":"e1-h1-r1","params":9223372036854775807,"macs":9223372036854775807,"top1":1,"images_per_second":1e308}]}`})
	if err := os.Remove(filepath.Join(dir, "archs/metrics.jsonl")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "archs/metrics.jsonl"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 40 { // files with bytes that are others, or cut
		files := map[string]string{}
		for _, file := range allFiles {
			text, err := os.ReadFile(filepath.Join(example, file))
			if err != nil {
				t.Fatal(err)
			}
			for range 1 + r.IntN(5) {
				text[r.IntN(len(text))] = byte(r.IntN(256))
			}
			files[file] = string(text[:r.IntN(len(text)+1)])
		}
		add(fmt.Sprintf("odd%d", i), files)
	}
	write(t, filepath.Join(dir, "s.json"), "{}")
	write(t, filepath.Join(dir, "s.meta.json"), deep)
	write(t, filepath.Join(dir, "b.jsonl"), `{"format":1,"draw":1,"seeds":[1],"recipe":{}}`+"\n{}\n")
	_, web := start(t, dir, Options{})
	bad := func(kind, name, text string) {
		for _, wrong := range []string{"<script>", "<img", "<svg onload", "fault of prenas", "ZgotmplZ", ">NaN", "\"NaN", "+Inf"} {
			if strings.Contains(text, wrong) {
				t.Errorf("%s %s has %q in it", kind, name, wrong)
			}
		}
	}
	for _, name := range names {
		status, text := get(t, web.URL+pageOf("run", name))
		if status != 200 {
			t.Errorf("%s: %d %s", name, status, text)
		}
		bad("run", name, text)
	}
	status, text := get(t, web.URL+pageOf("compare", names[:10]...))
	if status != 200 {
		t.Errorf("compare: %d %s", status, text)
	}
	bad("compare", "", text)
	status, text = get(t, web.URL+pageOf("search", "s.json"))
	if status != 200 || !strings.Contains(text, "s.meta.json: ") {
		t.Errorf("search: %d %s", status, text)
	}
	bad("search", "s.json", text)
	status, text = get(t, web.URL+pageOf("audit", "b.jsonl"))
	if status != 500 || !strings.Contains(text, "cannot be shown") {
		t.Errorf("audit: %d %s", status, text)
	}
	bad("audit", "b.jsonl", text)
	if status, _ := get(t, web.URL); status != 200 {
		t.Errorf("list: %d", status)
	}
}

// Of thousands of runs the list shows a page, and its making reads those of that page alone.
func TestThousandsOfRuns(t *testing.T) {
	dir, all := t.TempDir(), 3000
	if testing.Short() {
		all = 700
	}
	for i := range all {
		run := filepath.Join(dir, fmt.Sprint(i%30), fmt.Sprint(i))
		if err := os.MkdirAll(run, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(run, "manifest.json"), `{"n":1}`)
		write(t, filepath.Join(run, "metrics.jsonl"), line(10, 1))
	}
	b, web := start(t, dir, Options{})
	_, text := get(t, web.URL+"/?page=2")
	if !strings.Contains(text, fmt.Sprintf("101 to 150 of %d runs", all)) {
		t.Error("the third page is not that of runs 101 to 150")
	}
	if n := len(b.cache.runs); n != perPage {
		t.Errorf("%d runs were read, want %d", n, perPage)
	}
	for i := range 10 {
		if status, _ := get(t, web.URL+fmt.Sprintf("/?page=%d", i)); status != 200 {
			t.Error(status)
		}
	}
	if n := len(b.cache.runs); n > kept {
		t.Errorf("%d runs are kept in memory, more than %d", n, kept)
	}
}

// Run ends when it is told to, with pages open.
func TestStop(t *testing.T) {
	b, err := Open(t.TempDir(), Options{Every: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, listener) }()
	r := openEvents(t, fmt.Sprintf("http://%s/events?of=%%2F", listener.Addr()))
	event(t, r)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Errorf("the open page's connection was cut: %v", err)
	}
}
