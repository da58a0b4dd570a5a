package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/classify"
	"prenas/internal/data/codec"
	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/pytools"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// realModels serves two small models of prenas export on Go's backend; the wider is the more
// accurate.
func realModels(t *testing.T) (web *httptest.Server, dir string) {
	t.Helper()
	dir = t.TempDir()
	m := space.Model{ImageSize: 8, PatchSize: 4, Channels: 3, NumClasses: 3, HeadDim: 8, GlobalPool: true, QKVBias: true}
	for i, dim := range []int{8, 16} {
		a := space.Arch{EmbedDim: dim, NumHeads: []int{1}, MLPRatio: []float64{1}}
		weights := supernet.Standalone(m, a).Init(uint64(i))
		model, err := export.Take(weights, m, a, export.Info{
			Preprocess: export.Preprocess{Size: 8, Resize: 8, Interpolation: export.Bicubic, Mean: []float32{0.5, 0.5, 0.5}, Std: []float32{0.25, 0.25, 0.25}},
			Classes:    []string{"cat", "dog", "a:b"},
			Accuracy:   &export.Accuracy{Split: "test", Images: 10, Top1: 0.5 + 0.1*float64(i)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := model.Write(fsys.OS, filepath.Join(dir, fmt.Sprintf("wide%d.safetensors", dim))); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(t.Context(), dir, Options{Backend: "go", Batch: 4, Decode: codec.Decode, Size: codec.Size})
	if err != nil {
		t.Fatal(err)
	}
	web = httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		web.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return web, dir
}

// An answer has what the model itself says of the image.
func TestAnswersAreTheModels(t *testing.T) {
	web, dir := realModels(t)
	image := picture(200, 11, 9)
	for _, name := range []string{"wide8", "wide16"} {
		m, err := classify.Open(t.Context(), filepath.Join(dir, name+".safetensors"), classify.Options{Backend: "go"})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		img, err := codec.Decode(image)
		if err != nil {
			t.Fatal(err)
		}
		input, err := m.Prepare(img)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := m.Logits([][]float32{input})
		if err != nil {
			t.Fatal(err)
		}
		want := m.Rank(rows[0], 3)
		status, text, _ := post(t, web.URL+"/classify?model="+name, "image/png", image)
		if status != 200 {
			t.Fatal(text)
		}
		got := parse(t, text).Results[0].Classes
		for i, c := range want {
			if got[i].Name != c.Name || !(math.Abs(got[i].Probability-c.Probability) <= 1e-6) {
				t.Errorf("%s: class %d is %+v, want %+v", name, i, got[i], c)
			}
		}
		// The same through the protocol, as numbers.
		body, err := json.Marshal(map[string]any{"inputs": []any{map[string]any{"name": "images", "datatype": "FP32", "shape": []int{1, 3, 8, 8}, "data": input}}})
		if err != nil {
			t.Fatal(err)
		}
		status, text, _ = post(t, web.URL+"/v2/models/"+name+"/infer", "application/json", body)
		var answer struct {
			Outputs []struct{ Data []float64 } `json:"outputs"`
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 {
			t.Fatal(status, text)
		}
		for i, v := range rows[0] {
			if !(math.Abs(answer.Outputs[0].Data[i]-float64(v)) <= 1e-6) {
				t.Errorf("%s: logits %v, want %v", name, answer.Outputs[0].Data, rows[0])
			}
		}
	}
	if _, text, _ := post(t, web.URL+"/classify", "image/png", image); parse(t, text).Model != "wide16" {
		t.Errorf("the more accurate model does not answer: %s", text)
	}
}

// triton asks the server as Triton's own client does: binary tensors and JSON, logits,
// probabilities and classification, several images, files.
const triton = `
import json, sys
import numpy as np
import tritonclient.http as http

address, png = sys.stdin.buffer.readline().decode().strip(), sys.stdin.buffer.read()
c = http.InferenceServerClient(address)
out = {"live": c.is_server_live(), "ready": c.is_server_ready(), "model": c.is_model_ready("wide16"), "server": c.get_server_metadata(), "meta": c.get_model_metadata("wide16")}
x = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
def ask(binary_in, binary_out, name="logits", classes=0):
    i = http.InferInput("images", list(x.shape), "FP32")
    i.set_data_from_numpy(x, binary_data=binary_in)
    o = http.InferRequestedOutput(name, binary_data=binary_out, class_count=classes)
    return c.infer("wide16", [i], outputs=[o], request_id="7").as_numpy(name)
logits = ask(True, True)
for a in (True, False):
    for b in (True, False):
        assert np.array_equal(ask(a, b), logits), (a, b)
p = ask(True, True, "probabilities")
e = np.exp(logits - logits.max(1, keepdims=True))
assert np.abs(p - e / e.sum(1, keepdims=True)).max() < 1e-6
top = ask(True, True, "logits", 2)
assert top.shape == (3, 2), top.shape
for row, l in zip(top, logits):
    for text, k in zip(row, np.argsort(-l)):
        value, index, label = text.decode().split(":", 2)
        assert int(index) == k and abs(float(value) - l[k]) < 1e-5 and label == ["cat", "dog", "a:b"][k], text
i = http.InferInput("image", [1], "BYTES")
i.set_data_from_numpy(np.array([png], dtype=object))
out["file"] = c.infer("wide16", [i], outputs=[http.InferRequestedOutput("probabilities")]).as_numpy("probabilities").tolist()
try:
    c.infer("nobody", [i])
except http.InferenceServerException as e:
    out["error"] = str(e)
try:
    c.infer("wide16", [i], request_compression_algorithm="gzip")
except http.InferenceServerException as e:
    out["coded"] = str(e)
print(json.dumps(out))
`

func TestTritonsClient(t *testing.T) {
	python := pytools.Python(t, pytools.TritonClient)
	web, _ := realModels(t)
	image := picture(200, 11, 9)
	address := strings.TrimPrefix(web.URL, "http://")
	text := pytools.Run(t, python, triton, append([]byte(address+"\n"), image...))
	var got struct {
		Live, Ready, Model bool
		Server             struct{ Name string }
		Meta               struct {
			Inputs []struct{ Shape []int }
		}
		File  [][]float64
		Error string
		Coded string
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if !got.Live || !got.Ready || !got.Model || got.Server.Name != "prenas" || fmt.Sprint(got.Meta.Inputs[0].Shape) != "[-1 3 8 8]" {
		t.Errorf("%s", text)
	}
	if !strings.Contains(got.Error, `no model "nobody"`) {
		t.Errorf("error %q", got.Error)
	}
	if !strings.Contains(got.Coded, "coded as gzip") {
		t.Errorf("a compressed request: %q", got.Coded)
	}
	_, answer, _ := post(t, web.URL+"/classify", "image/png", image)
	for _, c := range parse(t, answer).Results[0].Classes {
		if !(math.Abs(got.File[0][c.Index]-c.Probability) <= 1e-6) {
			t.Errorf("a file: %v, want %+v", got.File, c)
		}
	}
}
