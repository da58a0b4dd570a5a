package augment

import (
	"math"
	"strconv"
)

// matrix maps the centre of an output pixel to a point of the input:
// (a·x + b·y + c, d·x + e·y + f).
type matrix struct{ a, b, c, d, e, f float64 }

// affine samples the image at the points that m maps to; points outside of it
// have the fill colour. As in PIL's transform, nothing is widened when
// shrinking, pixels at the border are repeated, and values are cut down to
// whole numbers.
func affine(img Image, m matrix, fill []uint8, f Filter) Image {
	out := like(img)
	c := img.Channels
	sample := bilinear
	if f == Bicubic {
		sample = bicubic
	}
	i := 0
	for y := range img.Height {
		yc := float64(y) + 0.5
		for x := range img.Width {
			xc := float64(x) + 0.5
			px, py := m.a*xc+m.b*yc+m.c, m.d*xc+m.e*yc+m.f
			to := out.Pixels[i : i+c : i+c]
			if px < 0 || px >= float64(img.Width) || py < 0 || py >= float64(img.Height) {
				copy(to, fill)
			} else {
				sample(img, px-0.5, py-0.5, to)
			}
			i += c
		}
	}
	return out
}

// bilinear mixes the four pixels around (x, y), both above -1.
func bilinear(img Image, x, y float64, to []uint8) {
	left, top := int(x+1)-1, int(y+1)-1 // floor
	dx, dy := x-float64(left), y-float64(top)
	c, stride := img.Channels, img.Width*img.Channels
	x0, x1 := max(left, 0)*c, min(left+1, img.Width-1)*c
	upper := img.Pixels[max(top, 0)*stride:][:stride]
	lower := upper
	if top+1 < img.Height {
		lower = img.Pixels[(top+1)*stride:][:stride]
	}
	for k := range to {
		v1 := between(upper[x0+k], upper[x1+k], dx)
		v2 := between(lower[x0+k], lower[x1+k], dx)
		to[k] = uint8(v1 + (v2-v1)*dy)
	}
}

func between(a, b uint8, d float64) float64 { return float64(a) + (float64(b)-float64(a))*d }

// bicubic mixes the sixteen pixels around (x, y), both above -1, with Keys'
// cubic at a = -1: PIL has this one for transforms, another for resizing. Where
// a point lies on a row or a column of pixels, as after a shear or a shift along
// the other axis, the cubic across is the pixel itself.
func bicubic(img Image, x, y float64, to []uint8) {
	left, top := int(x+1)-2, int(y+1)-2 // floor, less one
	dx, dy := x-float64(left+1), y-float64(top+1)
	c, stride := img.Channels, img.Width*img.Channels
	var rows [4][]uint8
	for k := range rows {
		rows[k] = img.Pixels[min(max(top+k, 0), img.Height-1)*stride:][:stride]
	}
	if c == 3 && left >= 0 && left+4 <= img.Width {
		at := 3 * left
		if dy == 0 {
			r, g, b := cubicColours(rows[1][at:at+12:at+12], dx)
			to[0], to[1], to[2] = level(r), level(g), level(b)
			return
		}
		var r, g, b [4]float64
		for k, row := range rows {
			p := row[at : at+12 : at+12]
			if dx == 0 {
				r[k], g[k], b[k] = float64(p[3]), float64(p[4]), float64(p[5])
				continue
			}
			r[k], g[k], b[k] = cubicColours(p, dx)
		}
		to[0] = level(cubic(r[0], r[1], r[2], r[3], dy))
		to[1] = level(cubic(g[0], g[1], g[2], g[3], dy))
		to[2] = level(cubic(b[0], b[1], b[2], b[3], dy))
		return
	}
	var columns [4]int
	for k := range columns {
		columns[k] = min(max(left+k, 0), img.Width-1) * c
	}
	for k := range to {
		var v [4]float64
		for i, row := range rows {
			v[i] = cubic(float64(row[columns[0]+k]), float64(row[columns[1]+k]), float64(row[columns[2]+k]), float64(row[columns[3]+k]), dx)
		}
		to[k] = level(cubic(v[0], v[1], v[2], v[3], dy))
	}
}

// cubicColours is the cubic of four neighbouring colours.
func cubicColours(p []uint8, d float64) (r, g, b float64) {
	_ = p[11]
	return cubic(float64(p[0]), float64(p[3]), float64(p[6]), float64(p[9]), d),
		cubic(float64(p[1]), float64(p[4]), float64(p[7]), float64(p[10]), d),
		cubic(float64(p[2]), float64(p[5]), float64(p[8]), float64(p[11]), d)
}

func cubic(v1, v2, v3, v4, d float64) float64 {
	p2, p3, p4 := v3-v1, 2*(v1-v2)+v3-v4, v2-v1-v3+v4
	return v2 + d*(p2+d*(p3+d*p4))
}

// level cuts down to a whole number of 0..255.
func level(v float64) uint8 { return uint8(min(max(v, 0), 255)) }

func shearX(img Image, factor float64, s setting) Image {
	return affine(img, matrix{1, factor, 0, 0, 1, 0}, s.fill, s.filter)
}

func shearY(img Image, factor float64, s setting) Image {
	return affine(img, matrix{1, 0, 0, factor, 1, 0}, s.fill, s.filter)
}

// translateX moves to the left by a share of the width.
func translateX(img Image, share float64, s setting) Image {
	return affine(img, matrix{1, 0, share * float64(img.Width), 0, 1, 0}, s.fill, s.filter)
}

// translateY moves up by a share of the height.
func translateY(img Image, share float64, s setting) Image {
	return affine(img, matrix{1, 0, 0, 0, 1, share * float64(img.Height)}, s.fill, s.filter)
}

// rotate turns around the middle by degrees, against the clock. Sine and cosine
// are rounded to 15 decimals as PIL rounds them.
func rotate(img Image, degrees float64, s setting) Image {
	degrees = math.Mod(degrees, 360)
	if degrees < 0 {
		degrees += 360
	}
	if degrees == 0 {
		return img
	}
	angle := -degrees * (math.Pi / 180)
	m := matrix{a: decimals(math.Cos(angle)), b: decimals(math.Sin(angle)), d: decimals(-math.Sin(angle)), e: decimals(math.Cos(angle))}
	x, y := float64(img.Width)/2, float64(img.Height)/2
	m.c, m.f = m.a*-x+m.b*-y+x, m.d*-x+m.e*-y+y
	return affine(img, m, s.fill, s.filter)
}

// decimals rounds to 15 of them.
func decimals(x float64) float64 {
	v, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 15, 64), 64) // always parses
	return v
}
