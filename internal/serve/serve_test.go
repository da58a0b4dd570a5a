package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"prenas/internal/classify"
	"prenas/internal/data"
	"prenas/internal/data/codec"
	"prenas/internal/export"
)

// fake is a model of two classes that takes 2 x 2 grey pixels; it says class 1 with a logit
// of the first pixel, and takes some time.
type fake struct {
	info    export.Info
	takes   time.Duration
	hold    chan struct{} // if not nil, a batch waits for a value
	batches chan int      // sizes of the batches that were computed
	closed  atomic.Bool
	asked   atomic.Int64
}

func newFake(top1 float64, takes time.Duration) *fake {
	f := &fake{takes: takes, batches: make(chan int, 1000)}
	f.info.Arch, f.info.Parameters, f.info.Classes = fmt.Sprintf("arch-%v", top1), int64(1000*top1), []string{"cat", "<b>dog</b>"}
	f.info.Architecture = export.Architecture{ImageSize: 2, Channels: 1, NumClasses: 2}
	f.info.Accuracy = &export.Accuracy{Split: "test", Images: 100, Top1: top1}
	return f
}

func (f *fake) Info() export.Info { return f.info }

func (f *fake) Prepare(img data.Image) ([]float32, error) {
	return []float32{float32(img.Pixels[0]), 0, 0, 0}, nil
}

func (f *fake) Logits(inputs [][]float32) ([][]float32, error) {
	if f.closed.Load() {
		return nil, errors.New("closed")
	}
	if f.hold != nil && f.asked.Load() > 0 {
		<-f.hold
	}
	time.Sleep(f.takes)
	f.batches <- len(inputs)
	rows := make([][]float32, len(inputs))
	for i, input := range inputs {
		if input[0] == 13 {
			return nil, fmt.Errorf("image %d: %w", i, classify.ErrNonFinite)
		}
		rows[i] = []float32{0, input[0]}
	}
	return rows, nil
}

func (f *fake) Rank(logits []float32, top int) []classify.Class {
	list := []classify.Class{{Index: 1, Name: f.info.Classes[1], Probability: float64(logits[1]) / 255}, {Index: 0, Name: "cat", Probability: 1 - float64(logits[1])/255}}
	return list[:min(top, 2)]
}

func (f *fake) Close() error {
	if f.closed.Swap(true) {
		return errors.New("closed twice")
	}
	return nil
}

// opener opens the fakes by the content of files, which is a key of the map.
type opener struct {
	mu    sync.Mutex
	fakes map[string]*fake
}

func (o *opener) open(_ context.Context, path string) (runner, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.fakes[string(text)]
	if f == nil {
		return nil, fmt.Errorf("%s is damaged", path)
	}
	return f, nil
}

func decodePNG(text []byte) (data.Image, error) {
	img, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		return data.Image{}, err
	}
	return codec.FromImage(img), nil
}

func sizeOf(text []byte) (int, int, error) {
	c, err := png.DecodeConfig(bytes.NewReader(text))
	return c.Width, c.Height, err
}

// picture is a PNG of one grey level.
func picture(level uint8, width, height int) []byte {
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = level
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// write makes a file of a folder, whole.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".part", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		t.Fatal(err)
	}
}

// start serves fakes, one for each name, from a folder.
func start(t *testing.T, o Options, fakes map[string]*fake) (*Server, *httptest.Server, string) {
	t.Helper()
	dir := t.TempDir()
	for name := range fakes {
		write(t, filepath.Join(dir, name+".safetensors"), name)
	}
	o.Decode, o.Size = decodePNG, sizeOf
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(t.Context(), dir, o, (&opener{fakes: fakes}).open)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fakes {
		f.asked.Store(1)
		for len(f.batches) > 0 {
			<-f.batches
		}
	}
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		web.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, web, dir
}

// post sends a body and returns the status and the answer.
func post(t *testing.T, url, kind string, body []byte) (int, string, http.Header) {
	t.Helper()
	r, err := http.Post(url, kind, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text), r.Header
}

func parse(t *testing.T, text string) classified {
	t.Helper()
	var c classified
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return c
}

func two() map[string]*fake {
	return map[string]*fake{"small": newFake(0.7, time.Millisecond), "large": newFake(0.9, 20*time.Millisecond)}
}

// slow are two whose times no busy machine confuses.
func slow() map[string]*fake {
	return map[string]*fake{"small": newFake(0.7, time.Millisecond), "large": newFake(0.9, 200*time.Millisecond)}
}

// until waits for what happens soon.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for began := time.Now(); !f(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// waiting waits until so many images wait for a model, those in work included, and so many of
// them in its queue.
func waiting(t *testing.T, s *Server, name string, all, queued int) {
	t.Helper()
	current, release := s.family.acquire()
	defer release()
	m := current.model(name)
	until(t, fmt.Sprintf("%d images of model %s", all, name), func() bool { return int(m.waiting.Load()) == all && len(m.queue) == queued })
}

func TestClassify(t *testing.T) {
	_, web, _ := start(t, Options{}, two())
	status, text, _ := post(t, web.URL+"/classify", "image/png", picture(200, 4, 4))
	answer := parse(t, text)
	if status != 200 || answer.Model != "large" || len(answer.Results) != 1 {
		t.Fatalf("%d %s", status, text)
	}
	first := answer.Results[0].Classes[0]
	if first.Index != 1 || first.Name != "<b>dog</b>" || first.Probability != 200./255 {
		t.Errorf("%+v", first)
	}
	if answer.TotalMS < answer.ComputeMS || answer.ComputeMS < 20 {
		t.Errorf("times %+v", answer)
	}
	if strings.Contains(text, "<b>") {
		t.Errorf("the answer has HTML in it: %s", text)
	}
	if _, text, _ := post(t, web.URL+"/classify?model=small&top=1", "image/png", picture(9, 4, 4)); parse(t, text).Model != "small" || len(parse(t, text).Results[0].Classes) != 1 {
		t.Errorf("by name: %s", text)
	}
}

// The most accurate model that answers in time does.
func TestWithin(t *testing.T) {
	_, web, _ := start(t, Options{Batch: 1}, slow())
	for within, want := range map[string]string{"10s": "large", "150ms": "small"} {
		status, text, _ := post(t, web.URL+"/classify?within="+within, "image/png", picture(1, 4, 4))
		if status != 200 || parse(t, text).Model != want {
			t.Errorf("within %s: %d %s, want model %s", within, status, text, want)
		}
	}
	status, text, _ := post(t, web.URL+"/classify?within=100us", "image/png", picture(1, 4, 4))
	if status != http.StatusUnprocessableEntity || !strings.Contains(text, "without any load") {
		t.Errorf("%d %s", status, text)
	}
	if status, text, _ := post(t, web.URL+"/classify?model=large&within=50ms", "image/png", picture(1, 4, 4)); status != http.StatusUnprocessableEntity {
		t.Errorf("a named model: %d %s", status, text)
	}
}

// What waits before a request counts: under load a faster model answers, or nobody can.
func TestWithinUnderLoad(t *testing.T) {
	s, web, _ := start(t, Options{Batch: 1}, slow())
	current, release := s.family.acquire()
	current.model("large").waiting.Add(5) // a second of work
	release()
	status, text, header := post(t, web.URL+"/classify?within=500ms", "image/png", picture(1, 4, 4))
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("%d %s", status, text)
	}
	current.model("large").waiting.Add(-5)
}

// Requests that wait for a model are computed together, and each gets its own answer.
func TestBatches(t *testing.T) {
	fakes := map[string]*fake{"one": newFake(0.5, 0)}
	fakes["one"].hold = make(chan struct{})
	s, web, _ := start(t, Options{Batch: 4}, fakes)
	var wait sync.WaitGroup
	for i := range 9 {
		wait.Go(func() {
			status, text, _ := post(t, web.URL+"/classify", "image/png", picture(uint8(20+i), 2, 2))
			if status != 200 || parse(t, text).Results[0].Classes[0].Probability != float64(20+i)/255 {
				t.Errorf("image %d: %d %s", i, status, text)
			}
		})
		if i == 0 {
			waiting(t, s, "one", 1, 0) // the first is in work, the others wait
		}
	}
	waiting(t, s, "one", 9, 8)
	close(fakes["one"].hold)
	wait.Wait()
	var sizes []int
	for len(fakes["one"].batches) > 0 {
		sizes = append(sizes, <-fakes["one"].batches)
	}
	if fmt.Sprint(sizes) != "[1 4 4]" {
		t.Errorf("batches of %v, want 1, 4 and 4", sizes)
	}
}

// An input that brings a model to NaN fails its own request alone.
func TestOneBadInputFailsAlone(t *testing.T) {
	fakes := map[string]*fake{"one": newFake(0.5, 0)}
	fakes["one"].hold = make(chan struct{})
	s, web, _ := start(t, Options{Batch: 4}, fakes)
	var wait sync.WaitGroup
	for i, level := range []uint8{1, 2, 13, 4} {
		wait.Go(func() {
			status, text, _ := post(t, web.URL+"/classify", "image/png", picture(level, 2, 2))
			if want := map[bool]int{true: 500, false: 200}[level == 13]; status != want {
				t.Errorf("level %d: %d %s", level, status, text)
			}
		})
		if i == 0 {
			waiting(t, s, "one", 1, 0)
		}
	}
	waiting(t, s, "one", 4, 3)
	close(fakes["one"].hold)
	wait.Wait()
}

// A full queue refuses, and says when to come again; with degrade another model answers.
func TestFullQueue(t *testing.T) {
	fakes := two()
	fakes["large"].hold = make(chan struct{}, 100)
	fakes["large"].takes = 0
	s, web, _ := start(t, Options{Batch: 1, Queue: 2, Images: 2}, fakes)
	var wait sync.WaitGroup
	for i := range 2 {
		wait.Go(func() { post(t, web.URL+"/classify?model=large", "image/png", picture(1, 4, 4)) })
		waiting(t, s, "large", i+1, i)
	}
	status, text, header := post(t, web.URL+"/classify?model=large", "image/png", picture(1, 4, 4))
	if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" {
		t.Errorf("%d %s", status, text)
	}
	fakes["large"].hold <- struct{}{}
	fakes["large"].hold <- struct{}{}
	wait.Wait()
}

func TestDegrade(t *testing.T) {
	fakes := two()
	s, web, _ := start(t, Options{Batch: 1, Queue: 4, Images: 1, Degrade: true}, fakes)
	current, release := s.family.acquire()
	current.model("large").waiting.Add(3) // of 4
	release()
	status, text, _ := post(t, web.URL+"/classify", "image/png", picture(1, 4, 4))
	if answer := parse(t, text); status != 200 || answer.Model != "small" || answer.DegradedFrom != "large" {
		t.Errorf("%d %s", status, text)
	}
	current.model("large").waiting.Add(-3)
	if _, text, _ := post(t, web.URL+"/classify", "image/png", picture(1, 4, 4)); parse(t, text).Model != "large" {
		t.Errorf("without load: %s", text)
	}
}

func form(t *testing.T, files map[string][]byte, fields ...string) (string, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, text := range files {
		part, err := w.CreateFormFile("file", name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range fields {
		if err := w.WriteField(f, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

// A form's images each have a result, the damaged ones why not.
func TestForm(t *testing.T) {
	_, web, _ := start(t, Options{Images: 3}, two())
	kind, body := form(t, map[string][]byte{"a.png": picture(10, 2, 2), "../b.png": picture(20, 2, 2), "c.png": []byte("no image")})
	status, text, _ := post(t, web.URL+"/classify", kind, body)
	answer := parse(t, text)
	if status != 200 || len(answer.Results) != 3 {
		t.Fatalf("%d %s", status, text)
	}
	for _, r := range answer.Results {
		if (r.Error != "") != (r.Name == "c.png") || (r.Error == "") != (len(r.Classes) == 2) {
			t.Errorf("%+v", r)
		}
	}
}

func TestRefusals(t *testing.T) {
	_, web, _ := start(t, Options{Bytes: 2000, Pixels: 100, Images: 2}, two())
	many, manyBody := form(t, map[string][]byte{"a": picture(1, 2, 2), "b": picture(1, 2, 2), "c": picture(1, 2, 2)})
	field, fieldBody := form(t, nil, "model")
	none, noneBody := form(t, nil)
	for _, c := range []struct {
		url, kind string
		body      []byte
		status    int
		text      string
	}{
		{"/classify", "image/png", nil, 400, "empty"},
		{"/classify", "image/png", []byte("GIF89a nonsense"), 422, "no image that can be read"},
		{"/classify", "image/png", picture(1, 4, 4)[:40], 422, "no image that can be read"},
		{"/classify", "image/png", picture(1, 20, 20), 413, "(pixels)"},
		{"/classify", "image/png", make([]byte, 3000), 413, "(body)"},
		{"/classify", "text/html", picture(1, 2, 2), 415, "text/html"},
		{"/classify", ";;", picture(1, 2, 2), 415, "Content-Type"},
		{"/classify?model=nobody", "image/png", picture(1, 2, 2), 404, "there are large, small"},
		{"/classify?model=../../etc/passwd", "image/png", picture(1, 2, 2), 404, "no model"},
		{"/classify?within=soon", "image/png", picture(1, 2, 2), 400, "5ms"},
		{"/classify?within=-1s", "image/png", picture(1, 2, 2), 400, "5ms"},
		{"/classify?top=0", "image/png", picture(1, 2, 2), 400, "1 or more"},
		{"/classify?Top=2", "image/png", picture(1, 2, 2), 400, "unknown parameter"},
		{"/classify?top=1&top=2", "image/png", picture(1, 2, 2), 400, "once"},
		{"/classify", many, manyBody, 413, "(images)"},
		{"/classify", field, fieldBody, 400, "?model=NAME"},
		{"/classify", none, noneBody, 400, "form"},
		{"/classify", "multipart/form-data", []byte("x"), 400, "form"},
		{"/classify", many, manyBody[:100], 400, "form"},
		{"/v2/models/nobody/infer", "application/json", []byte("{}"), 404, "no model"},
		{"/v2/models/large/versions/2/infer", "application/json", []byte("{}"), 404, "version"},
		{"/v2/models/large/infer", "application/json", []byte("[]"), 400, "Open Inference Protocol"},
		{"/v2/models/large/infer", "application/json", []byte("{"), 400, "Open Inference Protocol"},
		{"/v2/models/large/infer", "application/json", []byte("{}"), 400, "0 inputs"},
		{"/v2/models/large/infer", "application/json", []byte(`{"inputs":[{"name":"images","datatype":"FP32","shape":[1,1,2,2],"data":[1,2,3]}]}`), 400, "has 3 values"},
		{"/v2/models/large/infer", "application/json", []byte(`{"inputs":[{"name":"images","datatype":"FP32","shape":[1,1,2,2],"data":[1,2,3,4,5]}]}`), 400, "has 5 values"},
		{"/v2/models/large/infer", "application/json", []byte(`{"inputs":[{"name":"images","datatype":"FP32","shape":[1,1,2,2],"data":[1,2,3,1e99]}]}`), 400, "no float32"},
		{"/v2/models/large/infer", "application/json", []byte(`{"inputs":[{"name":"images","datatype":"FP32","shape":[1,1,2,2],"data":{"a":1}}]}`), 400, "numbers"},
		{"/v2/models/large/infer", "application/json", []byte(`{"inputs":[{"name":"images","datatype":"FP32","shape":[9223372036854775807,1,2,2],"data":[]}]}`), 400, "1 to 2"},
		{"/v2/models/large/infer", "application/json", []byte(`{"inputs":[{"name":"images","datatype":"FP32","shape":[1,3,2,2],"data":[]}]}`), 400, "[n, 1, 2, 2]"},
		{"/v2/models/large/infer", "application/json", []byte(`{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[]}]}`), 400, "INT8"},
		{"/v2/models/large/infer", "application/json", []byte(`{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["%%"]}]}`), 400, "base64"},
		{"/v2/models/large/infer", "application/json", []byte(`{"inputs":[{"name":"images","datatype":"FP32","shape":[1,1,2,2],"data":[1,2,3,4]}],"outputs":[{"name":"z"}]}`), 400, `no output \"z\"`},
		{"/v2/models/large/infer", "application/json", []byte(`{"inputs":[{"name":"images","datatype":"FP32","shape":[1,1,2,2],"parameters":{"binary_data_size":16}}]}`), 400, "binary_data_size"},
	} {
		status, text, _ := post(t, web.URL+c.url, c.kind, c.body)
		var told map[string]string
		if err := json.Unmarshal([]byte(text), &told); err != nil || status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s %s %.60q: %d %s, want %d with %q", c.url, c.kind, c.body, status, text, c.status, c.text)
		}
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{{"GET", "/classify", 405}, {"GET", "/nothing", 404}, {"GET", "/../go.mod", 404}, {"DELETE", "/v2", 405}, {"OPTIONS", "/v2/models/large/infer", 405}} {
		r, err := http.NewRequest(c.method, web.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var told map[string]string
		err = json.NewDecoder(got.Body).Decode(&told)
		got.Body.Close()
		if got.StatusCode != c.status || err != nil || told["error"] == "" || (c.status == 405) != (got.Header.Get("Allow") != "") {
			t.Errorf("%s %s: %d %v, want %d and why in JSON", c.method, c.path, got.StatusCode, told, c.status)
		}
	}
	r, err := http.NewRequest("POST", web.URL+"/classify", bytes.NewReader(picture(1, 2, 2)))
	if err != nil {
		t.Fatal(err)
	}
	for coding, want := range map[string]int{"gzip": 415, "x, gzip": 415, "identity": 200} {
		r.Header.Set("Content-Encoding", coding)
		r.Body = io.NopCloser(bytes.NewReader(picture(1, 2, 2)))
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		if got.StatusCode != want {
			t.Errorf("a body coded as %s: %d, want %d", coding, got.StatusCode, want)
		}
	}
}

// A body that is cut off or damaged on the way is no fault of the server.
func TestDamagedBodies(t *testing.T) {
	_, web, _ := start(t, Options{}, two())
	for _, path := range []string{"/classify", "/v2/models/large/infer"} {
		for what, text := range map[string]string{
			"cut off":      "Content-Length: 1000\r\n\r\nabc",
			"a bad chunk":  "Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
			"a cut chunk":  "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
			"a form's cut": "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x\r\n",
		} {
			c, err := net.Dial("tcp", strings.TrimPrefix(web.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\n"+text); err != nil {
				t.Fatal(err)
			}
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c)
			c.Close()
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), `{"error":"`) {
				t.Errorf("%s, %s: %v %.200s", path, what, err, answer)
			}
		}
	}
}

// A model that is opened while others compute is measured without the wait for them.
func TestOpeningUnderLoadMeasuresTheModelAlone(t *testing.T) {
	var compute sync.Mutex
	o, err := Options{Batch: 1}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	m := newModel("one", stamp{}, newFake(0.9, 0), o, &compute, newMetrics())
	const busy = 200 * time.Millisecond
	stop, stopped := make(chan struct{}), make(chan struct{})
	compute.Lock()
	go func() { // another batch whenever there is none
		defer close(stopped)
		for {
			time.Sleep(busy)
			compute.Unlock()
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			compute.Lock()
		}
	}()
	if err := m.measure(t.Context()); err != nil {
		t.Error(err)
	}
	close(stop)
	<-stopped
	if got := m.batches.expect(1); got > busy/2 {
		t.Errorf("a model that takes no time is expected to take %v", got)
	}
	if err := m.stop(); err != nil {
		t.Error(err)
	}
}

func TestToken(t *testing.T) {
	_, web, _ := start(t, Options{Token: "secret"}, two())
	ask := func(path, header string) int {
		r, err := http.NewRequest("GET", web.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", header)
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		return got.StatusCode
	}
	for header, want := range map[string]int{"": 401, "Bearer wrong": 401, "secret": 401, "Basic secret": 401, "Bearer secret": 200, "bearer secret": 200} {
		for _, path := range []string{"/models", "/metrics", "/v2"} {
			if got := ask(path, header); got != want {
				t.Errorf("%s with %q: %d, want %d", path, header, got, want)
			}
		}
	}
	for _, path := range []string{"/", "/v2/health/live", "/v2/health/ready", "/v2/models/large/ready"} {
		if got := ask(path, ""); got != 200 {
			t.Errorf("%s needs no token: %d", path, got)
		}
	}
}

// A folder that changes is read anew: new models come, old ones go when nobody uses them,
// a damaged file leaves what was served by its name.
func TestReload(t *testing.T) {
	fakes := two()
	replaced, added := newFake(0.8, time.Millisecond), newFake(0.95, time.Millisecond)
	s, web, dir := start(t, Options{Reload: 10 * time.Millisecond}, fakes)
	fakes["replaced"], fakes["added"] = replaced, added
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watched := make(chan struct{})
	go func() { defer close(watched); s.family.watch(ctx, s.o.Reload) }()

	// Requests go on all the while, and none fails.
	var wait sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, text, _ := post(t, web.URL+"/classify", "image/png", picture(1, 2, 2)); status != 200 {
					t.Errorf("during a reload: %d %s", status, text)
					return
				}
			}
		})
	}
	have := func() string {
		current, release := s.family.acquire()
		defer release()
		return strings.Join(current.names(), " ")
	}
	write(t, filepath.Join(dir, "new.safetensors"), "added")
	until(t, "a new model", func() bool { return have() == "new large small" })
	write(t, filepath.Join(dir, "small.safetensors"), "replaced")
	until(t, "a replaced model", func() bool { return fakes["small"].closed.Load() })
	write(t, filepath.Join(dir, "large.safetensors"), "damaged")
	if err := os.Remove(filepath.Join(dir, "new.safetensors")); err != nil {
		t.Fatal(err)
	}
	until(t, "a model that went", func() bool { return added.closed.Load() })
	if have() != "large small" || fakes["large"].closed.Load() {
		t.Errorf("a damaged file: %s are served", have())
	}
	close(stop)
	wait.Wait()
	cancel()
	<-watched
}

// Stopping answers what it began and takes nothing new.
func TestStop(t *testing.T) {
	fakes := map[string]*fake{"one": newFake(0.5, 100*time.Millisecond)}
	s, _, _ := start(t, Options{}, fakes)
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, listener) }()
	address := "http://" + listener.Addr().String()
	answered := make(chan int, 1)
	go func() {
		status, _, _ := post(t, address+"/classify", "image/png", picture(1, 2, 2))
		answered <- status
	}()
	waiting(t, s, "one", 1, 0)
	cancel()
	if status := <-answered; status != 200 {
		t.Errorf("the request in flight: %d", status)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := http.Get(address + "/models"); err == nil {
		t.Error("it answers after it stopped")
	}
}

func TestMetricsAndLog(t *testing.T) {
	var log bytes.Buffer
	_, web, _ := start(t, Options{Log: slog.New(slog.NewJSONHandler(&log, nil))}, two())
	post(t, web.URL+"/classify?model=small", "image/png", picture(1, 2, 2))
	r, err := http.Get(web.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`prenas_requests_total{code="200",route="/classify"} 1`, `prenas_images_total{model="small"} 1`,
		`prenas_waiting_images{model="large"} 0`, `prenas_expected_seconds{model="small"} 0.0`, "go_goroutines",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	found := false
	for _, line := range lines {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		found = found || entry["route"] == "/classify" && entry["status"] == 200. && entry["model"] == "small"
	}
	if !found {
		t.Errorf("no line of the request in the log:\n%s", log.String())
	}
}

func TestOptionsThatContradict(t *testing.T) {
	for _, o := range []Options{{Batch: 100, Queue: 10}, {CertFile: "x"}, {Timeout: -1}, {Batch: -1}, {Bytes: -1}, {Images: 100, Queue: 10}} {
		if _, err := o.withDefaults(); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Open(t.Context(), t.TempDir(), Options{}); !errors.Is(err, ErrFolder) {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestLatency(t *testing.T) {
	l := latency{sizes: batchSizes(8)}
	if l.expect(1) != 0 {
		t.Error("nothing was measured")
	}
	for i := range 10 {
		l.add(1, time.Duration(i+1)*time.Millisecond)
	}
	if got := l.expect(1); got != 9*time.Millisecond {
		t.Errorf("the 90th percentile of 1 to 10 ms is %v, want 9ms", got)
	}
	if got := l.expect(4); got != 36*time.Millisecond {
		t.Errorf("a batch of 4 that was never measured is %v, want 36ms", got)
	}
	l.add(3, 12*time.Millisecond) // counts as 4
	if got := l.expect(4); got != 12*time.Millisecond {
		t.Errorf("a batch of 4 is %v, want 12ms", got)
	}
	for range window {
		l.add(1, time.Millisecond)
	}
	if got := l.expect(1); got != time.Millisecond {
		t.Errorf("old measurements still count: %v", got)
	}
	// Of a size below all that were measured, the next larger one stands for it.
	big := latency{sizes: batchSizes(8)}
	big.add(8, 8*time.Millisecond)
	if got := big.expect(2); got != 8*time.Millisecond {
		t.Errorf("a batch of 2 where 8 was measured is %v, want 8ms", got)
	}
}

// The largest batch is measured, whatever it is, since a busy server computes no other.
func TestTheLargestBatchIsMeasured(t *testing.T) {
	f := newFake(0.9, 0)
	s, _, _ := start(t, Options{Batch: 6}, map[string]*fake{"only": f})
	current, release := s.family.acquire()
	defer release()
	var sizes []int
	for size := range current.models[0].batches.took {
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	if want := []int{1, 2, 4, 6}; !slices.Equal(sizes, want) {
		t.Errorf("batches of %v were measured, want %v", sizes, want)
	}
	// Five images run as six.
	l := &latency{sizes: batchSizes(6)}
	l.add(4, 4*time.Millisecond)
	l.add(6, 5*time.Millisecond)
	if got := l.expect(5); got != 5*time.Millisecond {
		t.Errorf("a batch of 5 is expected to take %v, want 5ms", got)
	}
}

// The order is by accuracy only where all were measured on the same images.
func TestRanking(t *testing.T) {
	named := func(name string, f *fake) *model { return &model{runner: f, name: name} }
	a, b := newFake(0.7, 0), newFake(0.9, 0)
	a.info.Parameters, b.info.Parameters = 2000, 1000
	f := &family{models: []*model{named("a", a), named("b", b)}}
	f.rank()
	if f.ranking != "accuracy" || f.names()[0] != "b" {
		t.Errorf("%v by %s", f.names(), f.ranking)
	}
	b.info.Accuracy.Images = 99
	f.rank()
	if f.names()[0] != "a" || !strings.Contains(f.ranking, "not measured on the same images") {
		t.Errorf("%v by %s", f.names(), f.ranking)
	}
	b.info.Accuracy = nil
	f.rank()
	if f.names()[0] != "a" || !strings.Contains(f.ranking, "b has no measured accuracy") {
		t.Errorf("%v by %s", f.names(), f.ranking)
	}
}
