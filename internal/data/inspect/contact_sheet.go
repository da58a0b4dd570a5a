package inspect

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"

	"prenas/internal/augment"
	"prenas/internal/data"
	"prenas/internal/data/load"
	"prenas/internal/printable"
)

// A contact sheet has a row of thumbnails for each of the first classes, and below rows of what a
// training sees of some images, and of twins.
const (
	sheetSide  = 96 // pixels of a thumbnail's side
	sheetRows  = 24
	sheetWidth = 10 // thumbnails in a row
	sheetText  = 180
	augmented  = 6 // rows of augmentation
)

// SheetOptions say what a contact sheet shows beside the classes.
type SheetOptions struct {
	Augment   *augment.Options // what a training makes of images; nil: not shown
	AugmentBy string           // whose that is
	Seed      uint64
	Twins     *Twins // nil: not shown
}

// sheet is a contact sheet in the making.
type sheet struct {
	img  *image.NRGBA
	face font.Face
	font *sfnt.Font
	y    int // of the next row
}

// row of a sheet: a title, or words and thumbnails.
type row struct {
	title string // a line of its own; then there are no tiles
	lines []string
	tiles []data.Image
}

// WriteContactSheet writes a contact sheet as PNG: a row for each of the first classes, with its name,
// how many training images it has, and the first sound ones; then images as a training sees them, and
// test images beside the training images that they look like.
func WriteContactSheet(ctx context.Context, set *data.Dataset, o SheetOptions, w io.Writer) error {
	rows, firsts, err := classRows(ctx, set)
	if err != nil {
		return err
	}
	if o.Augment != nil && len(firsts) > 0 {
		more, err := augmentedRows(ctx, set, o, firsts)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	if o.Twins != nil && len(o.Twins.First) > 0 {
		more, err := twinRows(ctx, set, *o.Twins)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	s, err := newSheet(rows)
	if err != nil {
		return err
	}
	for _, r := range rows {
		s.draw(r)
	}
	return png.Encode(w, s.img)
}

// thumbnail of an image: its middle.
func thumbnail(img data.Image) data.Image {
	return augment.CentreCrop(augment.Convert(img, 3), sheetSide, sheetSide, augment.Bicubic)
}

// classRows are the rows of the first classes, and the number of the first sound image of each.
func classRows(ctx context.Context, set *data.Dataset) (rows []row, firsts []int, err error) {
	n := min(len(set.Classes), sheetRows)
	rows = make([]row, n)
	counts := data.LabelCounts(set.Train, len(set.Classes))
	left := 0
	for k := range rows {
		rows[k].lines = []string{set.Classes[k], printable.Count(counts[k], "training image")}
		left += min(counts[k], sheetWidth)
	}
	for i := 0; i < set.Train.Len() && left > 0; i++ {
		k := set.Train.Label(i)
		if k >= n || len(rows[k].tiles) == sheetWidth {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		img, err := set.Train.Image(i)
		var damaged *data.DamagedImage
		if errors.As(err, &damaged) {
			left-- // of as many as there are at most
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if len(rows[k].tiles) == 0 {
			firsts = append(firsts, i)
		}
		rows[k].tiles = append(rows[k].tiles, thumbnail(img))
		left--
	}
	if more := len(set.Classes) - n; more > 0 {
		rows = append(rows, row{title: fmt.Sprintf("%s more are not shown", printable.Count(more, "class"))})
	}
	return rows, firsts, nil
}

// augmentedRows show the first image of some classes as it is, and what a training makes of it in its
// first epochs, at the size of a thumbnail or, of smaller images, at theirs.
func augmentedRows(ctx context.Context, set *data.Dataset, o SheetOptions, firsts []int) ([]row, error) {
	rows := []row{{title: fmt.Sprintf("As a training by %s sees them: the image, then as it comes in nine epochs", o.AugmentBy)}}
	for _, i := range firsts[:min(len(firsts), augmented)] {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		img, err := set.Train.Image(i)
		if err != nil {
			return nil, err
		}
		size := min(sheetSide, img.Width, img.Height)
		mean, std := data.Statistics(3)
		l, err := load.New(set.Train, load.Options{Batch: 1, Channels: 3, Size: size, Mean: mean, Std: std, Seed: o.Seed, Train: true, Augment: *o.Augment})
		if err != nil {
			return nil, err
		}
		views, err := l.Views(i, sheetWidth-1) // the image first
		if err != nil {
			return nil, err
		}
		r := row{lines: []string{set.Classes[set.Train.Label(i)]}}
		for _, view := range views {
			r.tiles = append(r.tiles, thumbnail(view))
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// twinRows show pairs of a test image and the training image that it looks like.
func twinRows(ctx context.Context, set *data.Dataset, t Twins) ([]row, error) {
	rows := []row{{title: fmt.Sprintf("%d of %s look like a training image: the first of them, each left of its like", t.Twins, printable.Count(t.Test, "test image"))}}
	test := data.Chain(set.HeldOut, set.Test)
	var now row
	for i, twin := range t.First {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a, err := test.Image(twin.TestIndex)
		if err != nil {
			return nil, err
		}
		b, err := set.Train.Image(twin.TrainIndex)
		if err != nil {
			return nil, err
		}
		now.tiles = append(now.tiles, thumbnail(a), thumbnail(b))
		if len(now.tiles) == sheetWidth || i == len(t.First)-1 {
			rows, now = append(rows, now), row{}
		}
	}
	return rows, nil
}

const titleHeight = 28

func (r row) height() int {
	if len(r.lines)+len(r.tiles) == 0 {
		return titleHeight
	}
	return sheetSide + sheetGap
}

func newSheet(rows []row) (*sheet, error) {
	height := sheetGap
	for _, r := range rows {
		height += r.height()
	}
	s := &sheet{img: image.NewNRGBA(image.Rect(0, 0, sheetText+sheetWidth*(sheetSide+sheetGap)+sheetGap, height)), y: sheetGap}
	draw.Draw(s.img, s.img.Rect, image.White, image.Point{}, draw.Src)
	var err error
	if s.font, err = opentype.Parse(goregular.TTF); err != nil {
		return nil, fmt.Errorf("the font of contact sheets: %w", err)
	}
	if s.face, err = opentype.NewFace(s.font, &opentype.FaceOptions{Size: 13, DPI: 72}); err != nil {
		return nil, fmt.Errorf("the font of contact sheets: %w", err)
	}
	return s, nil
}

func (s *sheet) draw(r row) {
	if r.height() == titleHeight {
		s.write(r.title, sheetGap, s.y+titleHeight-10, s.img.Rect.Dx()-2*sheetGap, color.Black)
	}
	for i, line := range r.lines {
		ink := color.Color(color.Black)
		if i > 0 {
			ink = color.Gray{110}
		}
		s.write(line, sheetGap, s.y+20+18*i, sheetText-2*sheetGap, ink)
	}
	for k, tile := range r.tiles {
		x0 := sheetText + k*(sheetSide+sheetGap)
		for y := range sheetSide {
			for x := range sheetSide {
				copy(s.img.Pix[s.img.PixOffset(x0+x, s.y+y):], tile.Pixels[3*(y*sheetSide+x):][:3])
			}
		}
	}
	s.y += r.height()
}

// write writes a line with its base at y, cut off with dots at width. What the font does not have is
// a question mark.
func (s *sheet) write(text string, x, y, width int, ink color.Color) {
	var b sfnt.Buffer
	text = strings.Map(func(r rune) rune {
		if glyph, err := s.font.GlyphIndex(&b, r); err != nil || glyph == 0 {
			return '?'
		}
		return r
	}, text)
	d := font.Drawer{Dst: s.img, Src: image.NewUniform(ink), Face: s.face, Dot: fixed.P(x, y)}
	runes := []rune(text)
	for n := len(runes); d.MeasureString(text).Ceil() > width && n > 0; n-- {
		text = string(runes[:n-1]) + "…"
	}
	d.DrawString(text)
}
