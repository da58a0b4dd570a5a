package pretrained

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What prenas does otherwise to images than the files beside the weights say is told.
func TestOtherPreprocessingIsTold(t *testing.T) {
	for _, c := range []struct {
		name, text string
		told       []string
	}{
		{"config.json", `{"architecture": "mobilenetv3_small_050", "pretrained_cfg": {"interpolation": "bilinear"}}`, []string{"config.json has images resized by the filter bilinear"}},
		{"config.json", `{"architecture": "vit_small_patch16_224", "pretrained_cfg": {"interpolation": "bicubic"}}`, nil},
		{"preprocessor_config.json", `{"resample": 2, "size": {"height": 224, "width": 224}}`, []string{"bilinear", "squeezed into a square"}},
		{"preprocessor_config.json", `{"resample": 3, "size": {"shortest_edge": 256}, "do_center_crop": true}`, nil},
		{"preprocessor_config.json", `{"resample": 3, "size": {"height": 256, "width": 256}, "do_center_crop": true}`, nil},
		{"preprocessor_config.json", `{"resample": 99, "size": 224}`, nil},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.name), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := readConfig(filepath.Join(dir, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.notes) != len(c.told) {
			t.Errorf("%s: %q, want %q", c.text, got.notes, c.told)
			continue
		}
		for i, words := range c.told {
			if !strings.Contains(got.notes[i], words) {
				t.Errorf("%s: %q does not say %q", c.text, got.notes[i], words)
			}
		}
	}
}
