package engine

import (
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"

	"prenas/internal/fsys"
	"prenas/internal/kernels"
)

// Fingerprint is what the last bits of a program's results depend on, beside the program.
type Fingerprint struct {
	Engine       string `json:"engine"`                  // "xla" or "go"
	Plugin       string `json:"plugin_sha256,omitempty"` // of XLA's plug-in
	Kernels      bool   `json:"kernels,omitempty"`       // programs call functions of package kernels
	Instructions string `json:"instructions"`            // of the processor, as far as programs choose by them
}

// Fingerprint of the engine. The plug-in is read once for its checksum.
func (e *Engine) Fingerprint() (Fingerprint, error) {
	f := Fingerprint{Engine: e.Name(), Kernels: e.Kernels(), Instructions: instructions()}
	if e.plugin == "" {
		return f, nil
	}
	e.sum.Do(func() { e.pluginSum, e.sumFailed = fsys.Sum(e.plugin) })
	f.Plugin = e.pluginSum
	return f, e.sumFailed
}

// String is like "xla (plug-in ad1309ac822b, kernels, avx512 bf16)".
func (f Fingerprint) String() string {
	var parts []string
	if f.Plugin != "" {
		parts = append(parts, "plug-in "+f.Plugin[:min(len(f.Plugin), 12)])
	}
	if f.Kernels {
		parts = append(parts, "kernels")
	}
	if f.Instructions != "" {
		parts = append(parts, f.Instructions)
	}
	if len(parts) == 0 {
		return f.Engine
	}
	return fmt.Sprintf("%s (%s)", f.Engine, strings.Join(parts, ", "))
}

// instructions are the widest vectors of this processor that kernels and XLA compile for,
// and what it has for products in bf16.
func instructions() string {
	if runtime.GOARCH != "amd64" {
		return runtime.GOARCH
	}
	x := cpu.X86
	name := "sse2"
	switch {
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ:
		name = "avx512"
	case x.HasAVX2 && x.HasFMA:
		name = "avx2"
	}
	if x.HasAVX512BF16 {
		name += " bf16"
	}
	if x.HasAMXTile && x.HasAMXBF16 {
		if name += " amx"; kernels.AMX() != "" {
			name += " refused"
		}
	}
	return name
}
