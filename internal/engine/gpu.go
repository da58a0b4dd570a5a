package engine

import (
	"os"
	"path/filepath"
	"strings"

	"prenas/internal/fsys"
)

// NoGPU says in one sentence why no NVIDIA GPU can be used here, as far as that can be seen
// without a plug-in; empty where the driver shows one.
func NoGPU() string { return noGPU("/") }

func noGPU(root string) string {
	for _, device := range []string{"dev/nvidiactl", "dev/dxg"} { // the second is Windows' own, for Linux in it
		if _, err := os.Stat(filepath.Join(root, device)); err == nil {
			return ""
		}
	}
	if _, err := os.Stat(filepath.Join(root, "proc/driver/nvidia")); err == nil {
		return "the driver of an NVIDIA GPU is loaded, but its devices are not here: a container needs --gpus all"
	}
	vendors, _ := filepath.Glob(filepath.Join(root, "sys/bus/pci/devices/*/vendor")) // the pattern is right
	for _, path := range vendors {
		const nvidia = "0x10de"
		if text, err := fsys.ReadText(fsys.OS, path); err == nil && strings.TrimSpace(string(text)) == nvidia {
			return "there is an NVIDIA device, but its driver is not loaded: install it"
		}
	}
	return "this machine has no NVIDIA GPU"
}
