package serve

import (
	"fmt"
	"log/slog"
	"time"

	"prenas/internal/data"
	"prenas/internal/engine"
	"prenas/internal/input"
)

// Options of a Server. Zero values mean the defaults that are named.
type Options struct {
	Batch    int           // images that a model computes at once, at most; 8
	Queue    int           // images that wait for a model, at most; 64
	Requests int           // with a body, that are answered at once, at most; 64
	Images   int           // images of one request, at most; 32
	Bytes    int64         // of one request's body, at most; 32 MiB
	Pixels   int           // of one image, at most; 50 million
	Timeout  time.Duration // for one request, the reading of its body included; 30 s
	Grace    time.Duration // for what is in flight when the server stops; 30 s
	Reload   time.Duration // how often the folder is looked at; 2 s
	Degrade  bool          // let less accurate models answer under load
	Top      int           // classes of an answer that does not say how many; 5
	Token    string        // that requests must bring; empty: none
	CertFile string        // of TLS, with KeyFile
	KeyFile  string

	Backend   string // of safetensors models, as engine.Options has it
	Precision engine.Precision
	Version   string // of the program, for the protocol's metadata
	Log       *slog.Logger
	// Decode reads the bytes of an image file.
	Decode func(text []byte) (data.Image, error)
	// Size is the width and height that an image file says it has.
	Size func(text []byte) (width, height int, err error)
}

// withDefaults fills in what was left out, and refuses what contradicts itself.
func (o Options) withDefaults() (Options, error) {
	for _, v := range []struct {
		value *int
		or    int
		name  string
	}{{&o.Batch, 8, "batch"}, {&o.Queue, 64, "queue"}, {&o.Requests, 64, "requests"}, {&o.Images, 32, "images"}, {&o.Pixels, 50e6, "pixels"}, {&o.Top, 5, "top"}} {
		if *v.value < 0 {
			return o, fmt.Errorf("%w: --%s is %d, it must be above 0", ErrOptions, v.name, *v.value)
		}
		if *v.value == 0 {
			*v.value = v.or
		}
	}
	for _, v := range []struct {
		value *time.Duration
		or    time.Duration
		name  string
	}{{&o.Timeout, 30 * time.Second, "timeout"}, {&o.Grace, 30 * time.Second, "grace"}, {&o.Reload, 2 * time.Second, "reload"}} {
		if *v.value < 0 {
			return o, fmt.Errorf("%w: --%s is %v, it must be above 0", ErrOptions, v.name, *v.value)
		}
		if *v.value == 0 {
			*v.value = v.or
		}
	}
	if o.Bytes < 0 {
		return o, fmt.Errorf("%w: %v is %d, it must be above 0", ErrOptions, input.Body, o.Bytes)
	}
	if o.Bytes == 0 {
		o.Bytes = 32 << 20
	}
	switch {
	case o.Batch > o.Queue:
		return o, fmt.Errorf("%w: %v %d is more than %v %d", ErrOptions, input.Batch, o.Batch, input.Queue, o.Queue)
	case o.Images > o.Queue:
		return o, fmt.Errorf("%w: %v %d of one request are more than %v %d", ErrOptions, input.Images, o.Images, input.Queue, o.Queue)
	case (o.CertFile == "") != (o.KeyFile == ""):
		return o, fmt.Errorf("%w: %v and %v go together", ErrOptions, input.TLSCert, input.TLSKey)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}
