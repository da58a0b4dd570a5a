package rundir

import (
	"strings"
	"testing"

	"prenas/internal/fsys"
	"prenas/internal/recipe"
	"prenas/pkg/space"
)

// What a damaged manifest says is refused before anything counts on it.
func TestManifestsOutOfTheirLimitsAreRefused(t *testing.T) {
	s, err := space.Load("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	for want, damage := range map[string]func(*Manifest){
		"":                            func(*Manifest) {},
		"recipe.batch is 0":           func(m *Manifest) { m.Recipe.Batch = 0 },
		"recipe.augment.crop is \"\"": func(m *Manifest) { m.Recipe.Augment.Crop = "" },
		"recipe.distill.kind is \"\"": func(m *Manifest) { m.Recipe.Distill = recipe.Distill{Teacher: "t.onnx"} },
		"MODEL.PATCH_SIZE is 0":       func(m *Manifest) { m.Space.Model.PatchSize = 0 },
		"SUPERNET.DEPTH is -1":        func(m *Manifest) { m.Space.Supernet.Depth = -1 },
		"it names no space":           func(m *Manifest) { m.Space = nil },
	} {
		run, own := t.TempDir(), *s
		m := Manifest{Format: ManifestFormat, Recipe: recipe.Default(), Space: &own}
		m.Recipe.Distill = recipe.Distill{} // as a run without a teacher has it
		damage(&m)
		if err := m.Write(fsys.OS, run); err != nil {
			t.Fatal(err)
		}
		_, err := ReadManifest(fsys.OS, run)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
