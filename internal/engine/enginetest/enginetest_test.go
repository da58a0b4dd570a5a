package enginetest

import "testing"

// On a GPU no plug-in for the CPU is looked for: here none would be found at that path.
func TestDevicesAreSkippedOnAGPU(t *testing.T) {
	t.Setenv(BackendEnv, "cuda:/nowhere/plugin.so")
	skipped := false
	t.Run("devices", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		Devices(t, 2)
	})
	if !skipped {
		t.Error("the test was not skipped")
	}
}
