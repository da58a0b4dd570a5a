package engine

import (
	"os"
	"path/filepath"
	"slices"
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

// visibleGPUs is the environment's list of the GPUs that a process may use: numbers or names, by commas.
const visibleGPUs = "CUDA_VISIBLE_DEVICES"

// countGPUs is how many GPUs a process sees, by the driver's device files and by the value of visibleGPUs, if there is
// one; 0: it cannot be seen from them.
func countGPUs(root, visible string) int {
	devices, _ := filepath.Glob(filepath.Join(root, "dev/nvidia[0-9]*")) // the pattern is right
	n := len(devices)
	if visible != "" {
		n = min(n, strings.Count(visible, ",")+1)
	}
	return n
}

// gpus names the models of the GPUs and the version of their driver, as far as the driver tells.
func gpus(root string) string {
	var models []string
	files, _ := filepath.Glob(filepath.Join(root, "proc/driver/nvidia/gpus/*/information")) // the pattern is right
	for _, path := range append(files, filepath.Join(root, "proc/driver/nvidia/version")) {
		text, _ := fsys.ReadText(fsys.OS, path) // none: it does not tell
		for line := range strings.Lines(string(text)) {
			if what, is, _ := strings.Cut(line, ":"); what == "Model" || what == "NVRM version" {
				models = append(models, strings.TrimSpace(is))
			}
		}
	}
	return strings.Join(slices.Compact(models), ", ")
}
