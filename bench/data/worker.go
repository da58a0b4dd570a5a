package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"time"

	"prenas/internal/augment"
	"prenas/internal/data"
	"prenas/internal/data/source"
)

// work is what a side does in a turn.
type work struct {
	Folder string   `json:"folder"` // sources of the same images
	Pack   string   `json:"pack"`
	Packed bool     `json:"packed"` // which of the two is to be used
	Filter string   `json:"filter"`
	Size   int      `json:"size"`
	Files  []string `json:"files"`
	Crops  [][4]int `json:"crops"` // top, left, height, width
	Flips  []bool   `json:"flips"`
}

// turn is how one went.
type turn struct {
	Seconds float64 `json:"seconds"`
	Sum     float64 `json:"sum"` // of all values of all images
}

// workFor does one work after the other, on one core.
func workFor(in io.Reader, out io.Writer) error {
	runtime.GOMAXPROCS(1)
	from, to := json.NewDecoder(in), json.NewEncoder(out)
	if err := to.Encode(runtime.Version()); err != nil {
		return err
	}
	for {
		var w work
		if err := from.Decode(&w); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		t, err := prepare(w)
		if err != nil {
			return err
		}
		if err := to.Encode(t); err != nil {
			return err
		}
	}
}

func prepare(w work) (t turn, err error) {
	src := w.Folder
	if w.Packed {
		src = w.Pack
	}
	set, err := source.Open(context.Background(), src, source.Options{})
	if err != nil {
		return t, err
	}
	in, err := augment.NewInput(3, w.Size, []float32{0.485, 0.456, 0.406}, []float32{0.229, 0.224, 0.225})
	if err != nil {
		return t, err
	}
	train, err := augment.NewTrain(in, augment.Options{Crop: "resized", Scale: scale, Ratio: ratio, Interpolation: w.Filter, Flip: 0.5})
	if err != nil {
		return t, err
	}
	out := make([]float32, in.Len())
	for i := range w.Files {
		began := time.Now()
		r := stream(i)
		var cut augment.Cut
		draw := func(height, width int) augment.Cut {
			cut = train.Draw(height, width, r)
			return cut
		}
		if err := data.Part(set.Train, i, draw, func(p augment.Piece) error { return train.Finish(p, cut, r, out) }); err != nil {
			return t, err
		}
		t.Seconds += time.Since(began).Seconds()
		for _, v := range out {
			t.Sum += float64(v)
		}
	}
	return t, nil
}
