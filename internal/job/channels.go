package job

import (
	"fmt"

	"prenas/pkg/space"
)

// checkChannels refuses a model that no images are for, but for those of an inputs file.
func checkChannels(m space.Model, inputs string) error {
	if m.Channels == 1 || m.Channels == 3 || inputs != "" {
		return nil
	}
	return fmt.Errorf("CHANNELS is %d in the space's MODEL block: images have 1 (grey) or 3 (red, green, blue)", m.Channels)
}
