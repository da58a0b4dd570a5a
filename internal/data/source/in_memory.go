package source

import "prenas/internal/data"

// inMemory holds images of one size one after the other.
type inMemory struct {
	pixels                  []uint8
	labels                  []uint8
	height, width, channels int
}

func (m inMemory) Len() int        { return len(m.labels) }
func (m inMemory) Label(i int) int { return int(m.labels[i]) }

func (m inMemory) Image(i int) (data.Image, error) {
	size := m.height * m.width * m.channels
	return data.Image{Pixels: m.pixels[i*size:][:size:size], Height: m.height, Width: m.width, Channels: m.channels}, nil
}
