package serve

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"

	"prenas/internal/export"
	"prenas/internal/input"
	"prenas/internal/printable"
)

// The Open Inference Protocol, version 2, over REST, as KServe and Triton have it, with
// Triton's extensions for binary tensors and for classification.
//
// A model has one input, images [n, C, H, W] in FP32, normalised as its description says, and one
// output, logits [n, classes]. Beside them the input image, BYTES [n], takes files of
// images, and the output probabilities is the softmax of the logits.

const (
	inputImages         = export.InputName
	inputFiles          = "image"
	outputLogits        = export.OutputName
	outputProbabilities = "probabilities"
	modelVersion        = "1"
	headerLength        = "Inference-Header-Content-Length"
)

// tensor of a request or an answer.
type tensor struct {
	Name       string          `json:"name"`
	Shape      []int64         `json:"shape"`
	Datatype   string          `json:"datatype"`
	Parameters map[string]any  `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
}

type inferRequest struct {
	ID         string         `json:"id"`
	Parameters map[string]any `json:"parameters"`
	Inputs     []tensor       `json:"inputs"`
	Outputs    []struct {
		Name       string         `json:"name"`
		Parameters map[string]any `json:"parameters"`
	} `json:"outputs"`
}

type inferAnswer struct {
	ModelName    string         `json:"model_name"`
	ModelVersion string         `json:"model_version"`
	ID           string         `json:"id,omitempty"`
	Parameters   map[string]any `json:"parameters,omitempty"`
	Outputs      []tensor       `json:"outputs"`
}

// metadataOf a tensor.
type metadataOf struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

func (s *Server) serverMetadata(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, map[string]any{"name": "prenas", "version": s.o.Version, "extensions": []string{"binary_tensor_data", "classification"}})
}

// named is the model that a request's address names, with the family it is of.
func (s *Server) named(r *http.Request) (*model, func(), error) {
	current, release := s.family.acquire()
	m := current.model(r.PathValue("model"))
	if m == nil {
		release()
		return nil, nil, refuse(http.StatusNotFound, "no model %q; GET /models lists them", r.PathValue("model"))
	}
	if v := r.PathValue("version"); v != "" && v != modelVersion {
		release()
		return nil, nil, refuse(http.StatusNotFound, "model %s has version %s, not %q", m.name, modelVersion, v)
	}
	return m, release, nil
}

func (s *Server) modelReady(w http.ResponseWriter, r *http.Request) error {
	m, release, err := s.named(r)
	if err != nil {
		return err
	}
	defer release()
	return reply(w, map[string]any{"name": m.name, "ready": true})
}

func (s *Server) modelMetadata(w http.ResponseWriter, r *http.Request) error {
	m, release, err := s.named(r)
	if err != nil {
		return err
	}
	defer release()
	a := m.Info().Architecture
	side := int64(a.ImageSize)
	platform := "prenas_safetensors"
	if m.isONNX() {
		platform = "onnxruntime_onnx"
	}
	return reply(w, map[string]any{
		"name": m.name, "versions": []string{modelVersion}, "platform": platform,
		"inputs":  []metadataOf{{inputImages, "FP32", []int64{-1, int64(a.Channels), side, side}}},
		"outputs": []metadataOf{{outputLogits, "FP32", []int64{-1, int64(a.NumClasses)}}},
	})
}

// infer answers a request of the protocol.
func (s *Server) infer(w http.ResponseWriter, r *http.Request) error {
	m, release, err := s.named(r)
	if err != nil {
		return err
	}
	defer release()
	text, err := body(r)
	if err != nil {
		return err
	}
	request, raw, err := parseInfer(text, r.Header.Get(headerLength))
	if err != nil {
		return err
	}
	inputs, err := s.inputs(r, m, request, raw)
	if err != nil {
		return err
	}
	answers, err := m.ask(r.Context(), inputs)
	if err != nil {
		return err
	}
	rows := make([][]float32, len(answers))
	for i, a := range answers {
		rows[i] = a.logits
	}
	answer, tail, err := m.outputs(request, rows)
	if err != nil {
		return err
	}
	last := answers[len(answers)-1]
	note(w, "model", m.name, "images", len(inputs), "batch", last.batch, "queue_ms", milliseconds(last.queued), "compute_ms", milliseconds(last.worked))
	if len(tail) == 0 {
		return reply(w, answer)
	}
	head, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(headerLength, strconv.Itoa(len(head)))
	_, _ = w.Write(append(head, tail...)) // the sender may be gone
	return nil
}

// parseInfer parts a body into its JSON and the binary tensors behind it.
func parseInfer(body []byte, length string) (q inferRequest, raw []byte, err error) {
	if length != "" {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > len(body) {
			return q, nil, refuse(http.StatusBadRequest, "the header %s is %q, and the body has %d bytes", headerLength, length, len(body))
		}
		body, raw = body[:n], body[n:]
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&q); err != nil {
		return q, nil, refuse(http.StatusBadRequest, "the body is no request of the Open Inference Protocol: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return q, nil, refuse(http.StatusBadRequest, "more stands behind the request's JSON; binary tensors need the header %s", headerLength)
	}
	return q, raw, nil
}

// inputs are the model's inputs, an image each.
func (s *Server) inputs(r *http.Request, m *model, q inferRequest, raw []byte) ([][]float32, error) {
	if len(q.Inputs) != 1 {
		return nil, refuse(http.StatusBadRequest, "the request has %s; the model takes one, %s", printable.Count(len(q.Inputs), "input"), inputImages)
	}
	t, a := q.Inputs[0], m.Info().Architecture
	size, binarySize := int64(a.Channels*a.ImageSize*a.ImageSize), -1
	if v, has := t.Parameters["binary_data_size"]; has {
		n, ok := v.(float64)
		if !ok || n != float64(len(raw)) {
			return nil, refuse(http.StatusBadRequest, "binary_data_size of input %q is %v; %d bytes stand behind the JSON", t.Name, v, len(raw))
		}
		binarySize = len(raw)
	} else if len(raw) > 0 {
		return nil, refuse(http.StatusBadRequest, "%d bytes stand behind the JSON that no input claims (binary_data_size)", len(raw))
	}
	switch {
	case t.Name == inputImages && t.Datatype == "FP32":
		if len(t.Shape) != 4 || t.Shape[1] != int64(a.Channels) || t.Shape[2] != int64(a.ImageSize) || t.Shape[3] != int64(a.ImageSize) {
			return nil, refuse(http.StatusBadRequest, "input %s has shape %v; it must be [n, %d, %d, %d]", t.Name, t.Shape, a.Channels, a.ImageSize, a.ImageSize)
		}
	case t.Name == inputFiles && t.Datatype == "BYTES":
		if len(t.Shape) != 1 {
			return nil, refuse(http.StatusBadRequest, "input %s has shape %v; it must be [n]", t.Name, t.Shape)
		}
		size = 1
	default:
		return nil, refuse(http.StatusBadRequest, "input %q of type %s; the model takes %s in FP32, or %s, files of images, in BYTES", t.Name, t.Datatype, inputImages, inputFiles)
	}
	n := t.Shape[0]
	if n < 1 || n > int64(s.o.Images) {
		return nil, refuse(http.StatusBadRequest, "the request has %s; this server takes 1 to %d (%v)", printable.Count(n, "image"), s.o.Images, input.Images)
	}
	if t.Datatype == "BYTES" {
		return s.filesOf(r, m, t, int(n), raw, binarySize >= 0)
	}
	var values []float32
	var err error
	if binarySize >= 0 {
		values, err = floatsOf(raw)
	} else {
		values, err = flat(t.Data, int(n*size))
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "input %s: %v", t.Name, err)
	}
	if int64(len(values)) != n*size {
		return nil, refuse(http.StatusBadRequest, "input %s has %d values; its shape %v needs %d", t.Name, len(values), t.Shape, n*size)
	}
	for i, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, refuse(http.StatusBadRequest, "input %s: value %d is not finite", t.Name, i)
		}
	}
	rows := make([][]float32, n)
	for i := range rows {
		rows[i] = values[int64(i)*size : int64(i+1)*size]
	}
	return rows, nil
}

// filesOf are inputs of files of images: in JSON as base64, in binary each behind its length.
func (s *Server) filesOf(r *http.Request, m *model, t tensor, n int, raw []byte, isBinary bool) ([][]float32, error) {
	var texts [][]byte
	if isBinary {
		for rest := raw; len(rest) > 0; {
			if len(rest) < 4 || uint64(binary.LittleEndian.Uint32(rest)) > uint64(len(rest)-4) {
				return nil, refuse(http.StatusBadRequest, "input %s: a length is more than what is left", t.Name)
			}
			size := binary.LittleEndian.Uint32(rest)
			texts, rest = append(texts, rest[4:4+size]), rest[4+size:]
		}
	} else {
		var list []string
		if err := json.Unmarshal(t.Data, &list); err != nil {
			return nil, refuse(http.StatusBadRequest, "input %s: its data must be a list of base64 texts: %v", t.Name, err)
		}
		for i, v := range list {
			text, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				return nil, refuse(http.StatusBadRequest, "input %s: text %d is no base64: %v", t.Name, i, err)
			}
			texts = append(texts, text)
		}
	}
	if len(texts) != n {
		return nil, refuse(http.StatusBadRequest, "input %s has %s, its shape says %d", t.Name, printable.Count(len(texts), "file"), n)
	}
	rows := make([][]float32, n)
	for i, text := range texts {
		f := file{text: text}
		err := s.measure(&f)
		if err == nil {
			rows[i], _, err = s.input(r.Context(), m, f)
		}
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// floatsOf are little-endian float32s.
func floatsOf(raw []byte) ([]float32, error) {
	if len(raw)%4 != 0 {
		return nil, fmt.Errorf("%d bytes are no whole number of float32s", len(raw))
	}
	values := make([]float32, len(raw)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return values, nil
}

// flat reads numbers in arrays of any nesting, at most want and one more.
func flat(text json.RawMessage, want int) ([]float32, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	values := make([]float32, 0, want)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, fmt.Errorf("its data: %w", err)
		}
		switch v := token.(type) {
		case json.Delim:
			if v == '{' {
				return nil, errors.New("its data must be numbers")
			}
		case json.Number:
			f, err := strconv.ParseFloat(v.String(), 32)
			if err != nil {
				return nil, fmt.Errorf("its data has %s, which is no float32", v)
			}
			if values = append(values, float32(f)); len(values) > want {
				return values, nil
			}
		default:
			return nil, fmt.Errorf("its data has %v among the numbers", token)
		}
	}
}

// outputs of a request: the logits where it names none.
func (m *model) outputs(q inferRequest, rows [][]float32) (inferAnswer, []byte, error) {
	answer := inferAnswer{ModelName: m.name, ModelVersion: modelVersion, ID: q.ID}
	type wanted struct {
		name   string
		binary bool
		top    int
	}
	everything, _ := q.Parameters["binary_data_output"].(bool)
	list := []wanted{{name: outputLogits, binary: everything}}
	if len(q.Outputs) > 0 {
		list = nil
	}
	for _, o := range q.Outputs {
		w := wanted{name: o.Name, binary: everything}
		if b, given := o.Parameters["binary_data"].(bool); given {
			w.binary = b
		}
		if v, has := o.Parameters["classification"]; has {
			n, ok := v.(float64)
			if !ok || n < 1 || n != math.Trunc(n) {
				return answer, nil, refuse(http.StatusBadRequest, "classification of output %s is %v; it is a number of classes", o.Name, v)
			}
			w.top = int(min(n, float64(m.Info().Architecture.NumClasses)))
		}
		list = append(list, w)
	}
	var tail []byte
	for _, w := range list {
		if w.name != outputLogits && w.name != outputProbabilities {
			return answer, nil, refuse(http.StatusBadRequest, "no output %q; there are %s and %s", w.name, outputLogits, outputProbabilities)
		}
		t := tensor{Name: w.name, Datatype: "FP32", Shape: []int64{int64(len(rows)), int64(m.Info().Architecture.NumClasses)}}
		var values []float32
		var texts []string
		for _, row := range rows {
			if w.name == outputLogits && w.top == 0 {
				values = append(values, row...)
				continue
			}
			ranked := m.Rank(row, len(row))
			if w.top == 0 {
				list := make([]float32, len(row))
				for _, c := range ranked {
					list[c.Index] = float32(c.Probability)
				}
				values = append(values, list...)
				continue
			}
			for _, c := range ranked[:w.top] { // value:index:label, as Triton has it
				value := float32(c.Probability)
				if w.name == outputLogits {
					value = row[c.Index]
				}
				texts = append(texts, fmt.Sprintf("%f:%d:%s", value, c.Index, c.Name))
			}
		}
		var raw []byte
		var err error
		if w.top > 0 {
			t.Datatype, t.Shape[1] = "BYTES", int64(w.top)
			for _, text := range texts {
				raw = append(binary.LittleEndian.AppendUint32(raw, uint32(len(text))), text...)
			}
			t.Data, err = json.Marshal(texts)
		} else {
			for _, v := range values {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
			}
			t.Data, err = json.Marshal(values)
		}
		if err != nil {
			return answer, nil, err
		}
		if w.binary {
			t.Data, t.Parameters = nil, map[string]any{"binary_data_size": len(raw)}
			tail = append(tail, raw...)
		}
		answer.Outputs = append(answer.Outputs, t)
	}
	return answer, tail, nil
}
