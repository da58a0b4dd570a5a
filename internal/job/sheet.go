package job

import (
	"context"
	"io"

	"prenas/internal/data"
	"prenas/internal/data/inspect"
	"prenas/internal/fsys"
	"prenas/internal/recipe"
)

// WriteSheet writes a contact sheet of a data set: its classes, what the augmentation of a recipe
// makes of images, and pairs of similar images (twins; nil: none were looked for). The data set is
// whole: no images are held out.
func WriteSheet(ctx context.Context, set *data.Dataset, recipeName string, seed uint64, twins *inspect.Twins, out string) error {
	r, err := recipe.Load(recipeName)
	if err != nil {
		return err
	}
	most := 0
	if set.HeldOut.Len() == 0 {
		most = data.MostHeldOut(set.Train, r.Stratify)
	}
	r, _ = r.Suited(set.Train.Len(), most)
	augment := r.Augment.Options()
	o := inspect.SheetOptions{Augment: &augment, AugmentBy: "the recipe " + recipeName, Seed: seed, Twins: twins}
	return fsys.WriteAtomic(fsys.OS, out, func(w io.Writer) error { return inspect.WriteContactSheet(ctx, set, o, w) })
}
