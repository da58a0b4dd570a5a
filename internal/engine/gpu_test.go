package engine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWhyThereIsNoGPU(t *testing.T) {
	for file, want := range map[string]string{
		"dev/nvidiactl":              "",
		"dev/dxg":                    "",
		"proc/driver/nvidia/version": "the driver of an NVIDIA GPU is loaded, but its devices are not here: a container needs --gpus all",
		"sys/bus/pci/devices/0000:01:00.0/vendor":     "there is an NVIDIA device, but its driver is not loaded: install it",
		"sys/bus/pci/devices/0000:01:00.0/subsystem0": "this machine has no NVIDIA GPU",
	} {
		root := t.TempDir()
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("0x10de\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := noGPU(root); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}
