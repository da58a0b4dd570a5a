package serve

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"prenas/internal/classify"
	"prenas/internal/input"
	"prenas/internal/printable"
)

// file is an image as it came.
type file struct {
	name   string // of a form's part; empty of a body
	text   []byte
	pixels int // that it says it has
}

// perPixels is what times of decoding are kept for.
const perPixels = 1_000_000

// result is what a model says of an image, or why it says nothing.
type result struct {
	Name    string           `json:"name,omitempty"`
	Classes []classify.Class `json:"classes,omitempty"`
	Error   string           `json:"error,omitempty"`
}

// classified is the answer to POST /classify. Times are in milliseconds.
type classified struct {
	Model        string   `json:"model"`
	Arch         string   `json:"arch"`
	DegradedFrom string   `json:"degraded_from,omitempty"` // the model that would have answered without load
	Results      []result `json:"results"`                 // an image each, in the order of the request
	Batch        int      `json:"batch"`                   // images computed together, other requests' too
	DecodeMS     float64  `json:"decode_ms"`
	QueueMS      float64  `json:"queue_ms"`
	ComputeMS    float64  `json:"compute_ms"`
	TotalMS      float64  `json:"total_ms"`
}

// classify answers what images show: one in the body, or those of a form.
func (s *Server) classify(w http.ResponseWriter, r *http.Request) error {
	began := time.Now()
	query := r.URL.Query()
	wanted, top, err := s.wish(query)
	if err != nil {
		return err
	}
	wanted.since = began
	files, err := s.files(r)
	if err != nil {
		return err
	}
	answer := classified{Results: make([]result, len(files))}
	var readable []int
	for i := range files {
		answer.Results[i].Name = files[i].name
		if err := s.measure(&files[i]); err == nil {
			readable = append(readable, i)
			wanted.before += s.decoding.expect(1) * time.Duration(files[i].pixels) / perPixels
		} else if answer.Results[i].Error = err.Error(); len(files) == 1 {
			return err
		}
	}
	current, release := s.family.acquire()
	defer release()
	wanted.images = len(readable)
	picked, err := current.choose(wanted, s.o.Degrade)
	if err != nil {
		return err
	}
	m := picked.model
	var inputs [][]float32
	var prepared []int // of files, those of inputs
	for _, i := range readable {
		input, decoding, err := s.input(r.Context(), m, files[i])
		answer.DecodeMS += milliseconds(decoding)
		var told refusal
		switch {
		case err == nil:
			inputs, prepared = append(inputs, input), append(prepared, i)
		case len(files) == 1 || !errors.As(err, &told):
			return err
		default:
			answer.Results[i].Error = told.text
		}
	}
	if len(inputs) == 0 {
		return refuse(http.StatusUnprocessableEntity, "none of the %s can be read; the first: %s", printable.Count(len(files), "image"), answer.Results[0].Error)
	}
	answers, err := m.ask(r.Context(), inputs)
	if err != nil {
		return err
	}
	for k, i := range prepared {
		answer.Results[i].Classes = m.Rank(answers[k].logits, top)
	}
	if picked.degraded != "" {
		s.metrics.degraded.WithLabelValues(m.name).Inc()
	}
	last := answers[len(answers)-1]
	answer.Model, answer.Arch, answer.DegradedFrom, answer.Batch = m.name, m.Info().Arch, picked.degraded, last.batch
	answer.QueueMS, answer.ComputeMS, answer.TotalMS = milliseconds(last.queued), milliseconds(last.worked), milliseconds(time.Since(began))
	note(w, "model", m.name, "images", len(inputs), "batch", last.batch, "queue_ms", answer.QueueMS, "compute_ms", answer.ComputeMS)
	return reply(w, answer)
}

// wish reads the parameters of a request.
func (s *Server) wish(query url.Values) (w wish, top int, err error) {
	top = s.o.Top
	for key, values := range query {
		if len(values) != 1 {
			return w, 0, refuse(http.StatusBadRequest, "the parameter %q stands %d times; once is enough", key, len(values))
		}
		value := values[0]
		switch key {
		case "model":
			w.model = value
		case "within":
			if w.within, err = time.ParseDuration(value); err != nil || w.within <= 0 {
				return w, 0, refuse(http.StatusBadRequest, "within is %q; it is a time such as 5ms or 1.5s", value)
			}
		case "top":
			if top, err = strconv.Atoi(value); err != nil || top < 1 {
				return w, 0, refuse(http.StatusBadRequest, "top is %q; it is a number of classes, 1 or more", value)
			}
		default:
			return w, 0, refuse(http.StatusBadRequest, "unknown parameter %q; there are model, within and top", key)
		}
	}
	return w, top, nil
}

// files are the images of a request, as they came.
func (s *Server) files(r *http.Request) ([]file, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && r.Header.Get("Content-Type") != "" {
		return nil, refuse(http.StatusUnsupportedMediaType, "the header Content-Type cannot be read: %v", err)
	}
	switch {
	case kind == "multipart/form-data":
		return s.form(r)
	case kind == "" || kind == "application/octet-stream" || kind == "application/x-www-form-urlencoded" || strings.HasPrefix(kind, "image/"):
		// curl --data-binary says x-www-form-urlencoded of any file.
		text, err := body(r)
		if err != nil {
			return nil, err
		}
		if len(text) == 0 {
			return nil, refuse(http.StatusBadRequest, "the body is empty: send the bytes of an image, or a form with files")
		}
		return []file{{text: text}}, nil
	}
	return nil, refuse(http.StatusUnsupportedMediaType, "the body is %s; send the bytes of an image (image/jpeg or any other), or multipart/form-data with files", kind)
}

// body reads the body of a request. One that is cut off, or whose chunks are damaged, is the
// sender's fault; a limit that is reached keeps its own error.
func body(r *http.Request) ([]byte, error) {
	text, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	var network net.Error
	if err == nil || errors.As(err, &large) || errors.As(err, &network) {
		return text, err
	}
	return nil, refuse(http.StatusBadRequest, "the body cannot be read to its end: %v", err)
}

// form reads the files of a form; it may have no other fields.
func (s *Server) form(r *http.Request) ([]file, error) {
	reader, err := r.MultipartReader()
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the form cannot be read: %v", err)
	}
	var files []file
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		var text []byte
		if err == nil {
			text, err = io.ReadAll(part)
		}
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, err
		}
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "the form cannot be read: %v", err)
		}
		if part.FileName() == "" {
			return nil, refuse(http.StatusBadRequest, "the form's field %q is no file; parameters go into the address, as ?model=NAME", part.FormName())
		}
		if len(files) == s.o.Images {
			return nil, refuse(http.StatusRequestEntityTooLarge, "the form has more than %s, the limit of this server (%v)", printable.Count(s.o.Images, "image"), input.Images)
		}
		files = append(files, file{name: part.FileName(), text: text})
	}
	if len(files) == 0 {
		return nil, refuse(http.StatusBadRequest, "the form has no file")
	}
	return files, nil
}

// measure reads how many pixels an image file says it has, and refuses what has too many.
func (s *Server) measure(f *file) error {
	width, height, err := s.o.Size(f.text)
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "no image that can be read: %v", err)
	}
	if f.pixels = width * height; f.pixels < 1 || f.pixels > s.o.Pixels {
		return refuse(http.StatusRequestEntityTooLarge, "the image has %d x %d pixels, the limit of this server is %d (%v)", width, height, s.o.Pixels, input.Pixels)
	}
	return nil
}

// input decodes an image file and makes the model's input of it, while its pixels have a place in
// the memory that all requests share. It returns how long decoding took.
func (s *Server) input(ctx context.Context, m *model, f file) ([]float32, time.Duration, error) {
	if err := s.pixels.Acquire(ctx, int64(f.pixels)); err != nil {
		return nil, 0, context.Cause(ctx)
	}
	defer s.pixels.Release(int64(f.pixels))
	began := time.Now()
	img, err := s.o.Decode(f.text)
	if err != nil {
		return nil, 0, refuse(http.StatusUnprocessableEntity, "no image that can be read: %v", err)
	}
	decoding := time.Since(began)
	s.decoding.add(1, decoding*perPixels/time.Duration(max(f.pixels, perPixels/100)))
	began = time.Now()
	input, err := m.Prepare(img)
	if err != nil {
		return nil, 0, err
	}
	m.prepare.add(1, time.Since(began))
	return input, decoding, nil
}
