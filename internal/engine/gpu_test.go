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

func TestGPUsOfAHost(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"dev/nvidia0": "", "dev/nvidia1": "", "dev/nvidia10": "", "dev/nvidiactl": "", "dev/nvidia-uvm": "",
		"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA H100 80GB\nIRQ:   1\n",
		"proc/driver/nvidia/gpus/0000:02:00.0/information": "Model: \t\t NVIDIA H100 80GB\nIRQ:   2\n",
		"proc/driver/nvidia/version":                       "NVRM version: NVIDIA UNIX x86_64  550.54\nGCC version:  gcc 12\n",
	} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for visible, want := range map[string]int{"": 3, "1": 1, "0,10": 2, "GPU-8932f937,1,2,3": 3} {
		if got := countGPUs(root, visible); got != want {
			t.Errorf("%s=%q: %d GPUs, want %d", visibleGPUs, visible, got, want)
		}
	}
	if got := countGPUs(t.TempDir(), "0"); got != 0 {
		t.Errorf("%d GPUs where there is no driver", got)
	}
	if got, want := gpus(root), "NVIDIA H100 80GB, NVIDIA UNIX x86_64  550.54"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
