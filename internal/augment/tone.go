package augment

// The operations of this file look at the values of pixels, not at their places.
// They are those of PIL's ImageOps, ImageEnhance and point, to the bit.

// lookUp replaces each value by what the table of its channel has for it.
func lookUp(img Image, tables ...[256]uint8) Image {
	out := like(img)
	if len(tables) == 1 {
		t := &tables[0]
		for i, v := range img.Pixels {
			out.Pixels[i] = t[v]
		}
		return out
	}
	for k := range tables {
		t := &tables[k]
		for i := k; i < len(img.Pixels); i += len(tables) {
			out.Pixels[i] = t[img.Pixels[i]]
		}
	}
	return out
}

// histograms of the channels.
func histograms(img Image) [][256]int {
	h := make([][256]int, img.Channels)
	for k := range h {
		t := &h[k]
		for i := k; i < len(img.Pixels); i += img.Channels {
			t[img.Pixels[i]]++
		}
	}
	return h
}

// autoContrast stretches each channel to 0..255.
func autoContrast(img Image, _ float64, _ setting) Image {
	tables := make([][256]uint8, img.Channels)
	for k, h := range histograms(img) {
		low, high := 0, 255
		for low < 255 && h[low] == 0 {
			low++
		}
		for high > 0 && h[high] == 0 {
			high--
		}
		for v := range tables[k] {
			tables[k][v] = uint8(v)
			if high > low {
				scale := 255 / float64(high-low)
				tables[k][v] = uint8(min(max(int(float64(v)*scale+-float64(low)*scale), 0), 255))
			}
		}
	}
	return lookUp(img, tables...)
}

// equalize spreads each channel's values evenly.
func equalize(img Image, _ float64, _ setting) Image {
	tables := make([][256]uint8, img.Channels)
	for k, h := range histograms(img) {
		pixels, last := 0, 0
		for _, n := range h {
			pixels += n
			if n > 0 {
				last = n
			}
		}
		step := (pixels - last) / 255
		n := step / 2
		for v := range tables[k] {
			tables[k][v] = uint8(v)
			if step > 0 {
				tables[k][v] = uint8(min(n/step, 255))
				n += h[v]
			}
		}
	}
	return lookUp(img, tables...)
}

func invert(img Image, _ float64, _ setting) Image {
	var t [256]uint8
	for v := range t {
		t[v] = uint8(255 - v)
	}
	return lookUp(img, t)
}

// posterize keeps the highest bits; 8 and more keep all.
func posterize(img Image, bits float64, _ setting) Image {
	if bits >= 8 {
		return img
	}
	mask := ^(1<<(8-int(bits)) - 1)
	var t [256]uint8
	for v := range t {
		t[v] = uint8(v & mask)
	}
	return lookUp(img, t)
}

// solarize inverts what is not below the threshold.
func solarize(img Image, threshold float64, _ setting) Image {
	var t [256]uint8
	for v := range t {
		t[v] = uint8(v)
		if float64(v) >= threshold {
			t[v] = uint8(255 - v)
		}
	}
	return lookUp(img, t)
}

// solarizeAdd adds to what is below 128.
func solarizeAdd(img Image, add float64, _ setting) Image {
	var t [256]uint8
	for v := range t {
		t[v] = uint8(v)
		if v < 128 {
			t[v] = uint8(min(255, v+int(add)))
		}
	}
	return lookUp(img, t)
}

// blend goes from one value (factor 0) to another (1) and beyond, in float32,
// cut down to a whole number.
func blend(from, to uint8, factor float32) uint8 {
	v := float32(from) + factor*float32(int(to)-int(from))
	return uint8(min(max(v, 0), 255))
}

// brightness blends from black.
func brightness(img Image, factor float64, _ setting) Image {
	return blendFrom(img, 0, factor)
}

// contrast blends from the mean grey.
func contrast(img Image, factor float64, _ setting) Image {
	sum := 0
	grey := Convert(img, 1).Pixels
	for _, v := range grey {
		sum += int(v)
	}
	return blendFrom(img, uint8(float64(sum)/float64(len(grey))+0.5), factor)
}

// blendFrom blends from an image of one value.
func blendFrom(img Image, value uint8, factor float64) Image {
	var t [256]uint8
	for v := range t {
		t[v] = blend(value, uint8(v), float32(factor))
	}
	return lookUp(img, t)
}

// colour blends from grey.
func colour(img Image, factor float64, _ setting) Image {
	if img.Channels == 1 {
		return img
	}
	f := float32(factor)
	out := like(img)
	for i := 0; i+3 <= len(img.Pixels); i += 3 {
		p, q := img.Pixels[i:i+3:i+3], out.Pixels[i:i+3:i+3]
		grey := luma(p[0], p[1], p[2])
		q[0], q[1], q[2] = blend(grey, p[0], f), blend(grey, p[1], f), blend(grey, p[2], f)
	}
	return out
}

// sharpness blends from a smoothed image: 1/13 of the eight neighbours and 5/13
// of the pixel, rounded; the border as it is.
func sharpness(img Image, factor float64, _ setting) Image {
	f := float32(factor)
	out := like(img)
	copy(out.Pixels, img.Pixels)
	c, row := img.Channels, img.Width*img.Channels
	for y := 1; y < img.Height-1; y++ {
		above, here, below := img.Pixels[(y-1)*row:][:row], img.Pixels[y*row:][:row], img.Pixels[(y+1)*row:][:row]
		to := out.Pixels[y*row:][:row]
		for i := c; i < row-c; i++ {
			sum := int(above[i-c]) + int(above[i]) + int(above[i+c]) +
				int(here[i-c]) + 5*int(here[i]) + int(here[i+c]) +
				int(below[i-c]) + int(below[i]) + int(below[i+c])
			to[i] = blend(uint8((2*sum+13)/26), here[i], f)
		}
	}
	return out
}
