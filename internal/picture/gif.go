package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"slices"
)

// decodeGIF decodes the first frame of a GIF as the whole picture: the frame may be smaller
// and lie anywhere in it. As Pillow has it, what no frame covers and what is
// transparent has the colour of the transparent entry of the picture's palette,
// or of the first entry where none is transparent. Go's decoder clears that
// entry; the header still has it.
func decodeGIF(text []byte) (image.Image, error) {
	config, err := gif.DecodeConfig(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	decoded, err := gif.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	frame, ok := decoded.(*image.Paletted)
	if !ok {
		return decoded, nil
	}
	rest := slices.IndexFunc(frame.Palette, func(c color.Color) bool { _, _, _, a := c.RGBA(); return a == 0 })
	palette, _ := config.ColorModel.(color.Palette)
	if rest >= 0 && rest < len(palette) {
		frame.Palette[rest] = palette[rest]
	}
	canvas := image.NewPaletted(image.Rect(0, 0, config.Width, config.Height), frame.Palette)
	for i := range canvas.Pix {
		canvas.Pix[i] = uint8(max(rest, 0))
	}
	area := frame.Rect.Intersect(canvas.Rect)
	for y := area.Min.Y; y < area.Max.Y; y++ {
		copy(canvas.Pix[canvas.PixOffset(area.Min.X, y):][:area.Dx()], frame.Pix[frame.PixOffset(area.Min.X, y):])
	}
	return canvas, nil
}
