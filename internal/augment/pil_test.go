package augment

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"testing"

	"prenas/internal/pytools"
	"prenas/internal/rng"
)

// pilProgram answers each request, a JSON line and the pixels of an image, with
// the size and the pixels of what PIL makes of it.
const pilProgram = `
import json, struct, sys
from PIL import Image, ImageEnhance, ImageOps

FILTERS = {0: Image.BILINEAR, 1: Image.BICUBIC}

def transform(m):
    return lambda i, a, q: i.transform(i.size, Image.AFFINE, m(i, a), resample=FILTERS[q["Filter"]], fillcolor=fill(i, q))

def fill(i, q):
    return tuple(q["Fill"]) if i.mode == "RGB" else q["Fill"][0]

def solarize_add(i, a, q):
    return i.point([min(255, v + int(a)) if v < 128 else v for v in range(256)] * len(i.getbands()))

OPERATIONS = {
    "resize": lambda i, a, q: i.crop(q["Part"]).resize(q["Size"], FILTERS[q["Filter"]]),
    "piece": lambda i, a, q: i.crop(q["Part"]).resize(q["Size"], FILTERS[q["Filter"]], box=q["Box"]),
    "grey": lambda i, a, q: i.convert("L"),
    "mirror": lambda i, a, q: ImageOps.mirror(i),
    "flip": lambda i, a, q: ImageOps.flip(i),
    "AutoContrast": lambda i, a, q: ImageOps.autocontrast(i),
    "Equalize": lambda i, a, q: ImageOps.equalize(i),
    "Invert": lambda i, a, q: ImageOps.invert(i),
    "Rotate": lambda i, a, q: i.rotate(a, resample=FILTERS[q["Filter"]], fillcolor=fill(i, q)),
    "Posterize": lambda i, a, q: ImageOps.posterize(i, int(a)),
    "Solarize": lambda i, a, q: ImageOps.solarize(i, a),
    "SolarizeAdd": solarize_add,
    "Color": lambda i, a, q: ImageEnhance.Color(i).enhance(a),
    "Contrast": lambda i, a, q: ImageEnhance.Contrast(i).enhance(a),
    "Brightness": lambda i, a, q: ImageEnhance.Brightness(i).enhance(a),
    "Sharpness": lambda i, a, q: ImageEnhance.Sharpness(i).enhance(a),
    "ShearX": transform(lambda i, a: (1, a, 0, 0, 1, 0)),
    "ShearY": transform(lambda i, a: (1, 0, 0, a, 1, 0)),
    "TranslateXRel": transform(lambda i, a: (1, 0, a * i.size[0], 0, 1, 0)),
    "TranslateYRel": transform(lambda i, a: (1, 0, 0, 0, 1, a * i.size[1])),
}

while line := sys.stdin.buffer.readline():
    q = json.loads(line)
    pixels = sys.stdin.buffer.read(q["Width"] * q["Height"] * q["Channels"])
    i = Image.frombytes("RGB" if q["Channels"] == 3 else "L", (q["Width"], q["Height"]), pixels)
    o = OPERATIONS[q["Operation"]](i, q["Argument"], q)
    sys.stdout.buffer.write(struct.pack("<3I", o.size[1], o.size[0], len(o.getbands())) + o.tobytes())
`

// request to PIL, and what we made of the same.
type request struct {
	Operation               string
	Argument                float64
	Filter                  Filter
	Fill                    []uint8    `json:"-"`
	Colour                  []int      `json:"Fill"`
	Part                    [4]int     // left, top, right, bottom
	Box                     [4]float64 // of a piece, within Part
	Size                    [2]int     // width, height
	Height, Width, Channels int

	from, ours Image
}

func (q request) String() string {
	return fmt.Sprintf("%s(%v) of %dx%dx%d, filter %d, part %v to %v", q.Operation, q.Argument, q.Width, q.Height, q.Channels, q.Filter, q.Part, q.Size)
}

// comparePIL fails where less than 99 % of the values are within one level of
// PIL's, and tells how many are not equal.
func comparePIL(t *testing.T, requests []request) {
	t.Helper()
	python := pytools.Python(t, pytools.Pillow)
	var input bytes.Buffer
	for _, q := range requests {
		q.Height, q.Width, q.Channels = q.from.Height, q.from.Width, q.from.Channels
		for _, v := range q.Fill {
			q.Colour = append(q.Colour, int(v))
		}
		line, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		input.Write(append(line, '\n'))
		input.Write(q.from.Pixels)
	}
	out := bytes.NewReader(pytools.Run(t, python, pilProgram, input.Bytes()))
	values, unequal := 0, 0
	for _, q := range requests {
		var form [3]uint32
		if err := binary.Read(out, binary.LittleEndian, &form); err != nil {
			t.Fatal(err)
		}
		theirs := newImage(int(form[0]), int(form[1]), int(form[2]))
		if _, err := out.Read(theirs.Pixels); err != nil {
			t.Fatal(err)
		}
		ours := q.ours
		if ours.Height != theirs.Height || ours.Width != theirs.Width || ours.Channels != theirs.Channels {
			t.Fatalf("%v: %dx%dx%d, PIL has %dx%dx%d", q, ours.Width, ours.Height, ours.Channels, theirs.Width, theirs.Height, theirs.Channels)
		}
		far := 0
		for i, v := range theirs.Pixels {
			if v != ours.Pixels[i] {
				unequal++
			}
			if d := int(v) - int(ours.Pixels[i]); d < -1 || d > 1 {
				far++
			}
		}
		values += len(theirs.Pixels)
		if 100*far > len(theirs.Pixels) {
			t.Errorf("%v: %d of %d values are more than one level from PIL's", q, far, len(theirs.Pixels))
		}
	}
	t.Logf("%d images, %d values, %d not equal to PIL's", len(requests), values, unequal)
}

// picture is smooth in parts, noisy in others and has hard edges.
func picture(height, width, channels int, seed uint64) Image {
	r := rng.New(seed, "picture")
	img := newImage(height, width, channels)
	for y := range height {
		for x := range width {
			for c := range channels {
				v := 128 + 100*math.Sin(float64(x*(c+1))/17+float64(seed))*math.Cos(float64(y)/23)
				switch {
				case (x/31+y/29)%3 == 1:
					v = float64(r.IntN(256))
				case (x/13+y/11)%5 == 2:
					v = float64(255 * ((x/5 + y/3 + c) % 2))
				}
				img.Pixels[(y*width+x)*channels+c] = uint8(v)
			}
		}
	}
	return img
}

func TestResizeIsPILs(t *testing.T) {
	var requests []request
	add := func(img Image, part image.Rectangle, height, width int) {
		for _, f := range []Filter{Bilinear, Bicubic} {
			requests = append(requests, request{
				Operation: "resize", Filter: f, Part: [4]int{part.Min.X, part.Min.Y, part.Max.X, part.Max.Y}, Size: [2]int{width, height},
				from: img, ours: Resize(img, part, height, width, f),
			})
		}
	}
	for _, channels := range []int{1, 3} {
		large := picture(375, 500, channels, 1)
		add(large, whole(large), 224, 224)
		add(large, whole(large), 256, 341)
		add(large, whole(large), 375, 100) // one axis only
		add(large, whole(large), 60, 500)
		add(large, image.Rect(17, 30, 17+224, 30+224), 224, 224) // nothing to resize
		add(large, image.Rect(100, 50, 400, 351), 224, 224)
		add(large, image.Rect(3, 5, 63, 42), 224, 224) // enlarged
		add(large, image.Rect(499, 374, 500, 375), 9, 7)
		add(large, whole(large), 3, 2)
		small := picture(5, 3, channels, 2)
		add(small, whole(small), 28, 31)
		add(small, whole(small), 1, 1)
		r := rng.New(3, "parts")
		for range 20 {
			add(large, DrawCrop(large.Height, large.Width, [2]float64{0.08, 1}, [2]float64{0.75, 4.0 / 3}, r), 224, 224)
		}
	}
	comparePIL(t, requests)
}

// Parts of images that were decoded smaller begin and end anywhere between pixels.
func TestPiecesArePILs(t *testing.T) {
	var requests []request
	for _, channels := range []int{1, 3} {
		img := picture(188, 250, channels, 1)
		r := rng.New(4, "parts")
		for i := range 30 {
			part := DrawCrop(8*img.Height-3, 8*img.Width-5, [2]float64{0.1, 1}, usualRatio, r)
			box := Box{float64(part.Min.X) / 8, float64(part.Min.Y) / 8, float64(part.Max.X) / 8, float64(part.Max.Y) / 8}
			if i == 0 { // as wide as wanted, but shifted
				box = Box{10.5, 20.25, 74.5, 84.25}
			}
			hull := box.hull()
			left, top := float64(hull.Min.X), float64(hull.Min.Y)
			for _, f := range []Filter{Bilinear, Bicubic} {
				cut := Cut{part, 64, 64, image.Rect(0, 0, 64, 64), f}
				requests = append(requests, request{
					Operation: "piece", Filter: f, Part: [4]int{hull.Min.X, hull.Min.Y, hull.Max.X, hull.Max.Y}, Size: [2]int{64, 64},
					Box: [4]float64{box.Left - left, box.Top - top, box.Right - left, box.Bottom - top}, from: img, ours: cut.resize(Piece{img, box}),
				})
			}
		}
	}
	comparePIL(t, requests)
}

func TestOperationsArePILs(t *testing.T) {
	fill := []uint8{124, 116, 104}
	var requests []request
	for _, img := range []Image{
		picture(224, 224, 3, 1), picture(97, 131, 3, 2), picture(60, 50, 1, 3), picture(1, 1, 3, 4), picture(2, 7, 1, 5),
		like(picture(8, 9, 3, 6)), // black
		blendFrom(picture(40, 50, 3, 7), 100, 0.2),
	} {
		add := func(name string, argument float64, f Filter) {
			requests = append(requests, request{
				Operation: name, Argument: argument, Filter: f, Fill: fill, from: img,
				ours: operations[name].apply(img, argument, setting{fill[:img.Channels], f}),
			})
		}
		for _, name := range []string{"AutoContrast", "Equalize", "Invert"} {
			add(name, 0, 0)
		}
		for bits := range 9 {
			add("Posterize", float64(min(bits, 8)), 0)
		}
		for _, threshold := range []float64{0, 26, 128, 231, 256} {
			add("Solarize", threshold, 0)
			add("SolarizeAdd", threshold/256*110, 0)
		}
		for _, name := range []string{"Color", "Contrast", "Brightness", "Sharpness"} {
			for _, factor := range []float64{0, 0.1, 0.4, 0.63, 1, 1.27, 1.9} {
				add(name, factor, 0)
			}
		}
		for _, f := range []Filter{Bilinear, Bicubic} {
			for _, share := range []float64{-1, -0.37, 0, 0.2, 1} {
				add("Rotate", 30*share, f)
				add("ShearX", 0.3*share, f)
				add("ShearY", 0.3*share, f)
				add("TranslateXRel", 0.45*share, f)
				add("TranslateYRel", 0.45*share, f)
			}
			add("Rotate", 123.4, f)
		}
	}
	for _, channels := range []int{1, 3} {
		img := picture(45, 67, channels, 8)
		requests = append(requests,
			request{Operation: "grey", from: img, ours: Convert(img, 1)},
			request{Operation: "mirror", from: img, ours: Flip(img)},
			request{Operation: "flip", from: img, ours: FlipVertical(img)})
	}
	comparePIL(t, requests)
}
