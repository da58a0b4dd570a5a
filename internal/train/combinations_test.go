package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"prenas/internal/recipe"
	"testing"
)

// unevenSeed is one whose sampler uniform draws the first of two architectures in each of
// the first eight updates.
const unevenSeed = 294

// Every sampler trains with accumulation, architectures of different depth, each family,
// each way of distillation and each precision, or the recipe is refused before anything is
// compiled.
func TestRecipesInAllCombinations(t *testing.T) {
	vit, conv := toyOptions(t, ""), convOptions(t, "")
	vit.Engine, vit.Candidates = conv.Engine, vit.Candidates[:2]
	seen := 0
	distills := map[string]recipe.Distill{
		"nobody":      {},
		"a file":      {Teacher: "t.safetensors", Kind: recipe.SoftTarget, Alpha: 0.5, Temperature: 1},
		"the largest": {Teacher: recipe.LargestTeacher, Kind: recipe.HardTarget, Alpha: 0.5, Temperature: 1},
	}
	for family, of := range map[string]Options{"vit": vit, "conv": conv} {
		for _, name := range recipe.SamplerNames() {
			for _, accumulate := range []int{1, 2} {
				for who, distill := range distills {
					precision := []string{"float32", "bf16"}[(accumulate+len(name)+len(who))%2]
					t.Run(fmt.Sprintf("%s, %s, %d batches, taught by %s, %s", family, name, accumulate, who, precision), func(t *testing.T) {
						o := of
						o.Out, o.Seed = filepath.Join(t.TempDir(), "run"), unevenSeed
						r := &o.Recipe
						r.Epochs, r.Batch, r.Sampler.Name, r.Accumulate, r.Distill, r.Precision = 1, 2, name, accumulate, distill, precision
						r.Schedule.Warmup = 0
						o.Source = toyImages{train: r.Batch * accumulate * 12}
						if distill.File() != "" {
							o.Teacher = meanTeacher{"one", &seen}
						}
						refused := distill.InPlace() && name != recipe.Sandwich
						result, err := Run(context.Background(), o)
						switch {
						case refused && !errors.Is(err, recipe.ErrInvalid):
							t.Errorf("error %v, want ErrRecipe", err)
						case !refused && (err != nil || result.Step != 12):
							t.Errorf("%d updates, want 12; %v", result.Step, err)
						}
					})
				}
			}
		}
	}
}
