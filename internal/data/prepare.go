package data

// Prepare makes of one image what evaluation gives to a model: channels, resizing,
// centre crop and normalisation as the options say. The result is [C, H, W].
func Prepare(img Image, o LoaderOptions) ([]float32, error) {
	l := &Loader{o: o}
	img, err := l.channels(img)
	if err != nil {
		return nil, err
	}
	out := make([]float32, o.Channels*o.Size*o.Size)
	l.normalise(centreCrop(img, o.Size, o.EvalResize), out)
	return out, nil
}

// ReadImage reads an image file as RGB. Errors name the file.
func ReadImage(path string) (Image, error) { return readImage(path) }
