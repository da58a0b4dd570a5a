package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"prenas/internal/input"
	"prenas/internal/proxy"
	"prenas/internal/tensorfile"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// checkCuts refuses a search by what cuts cost in three cases: the space is convolutional, the method
// needs scores of gradients, or there are no trained weights or no images to measure on.
func (o SearchOptions) checkCuts(options search.Options) error {
	switch {
	case o.Space.Model.IsConv():
		return fmt.Errorf("%w of scoring %s: it is defined for vision transformers only", search.ErrMethod, options.Score)
	case options.Full(o.Space).Method == search.Preferred:
		return fmt.Errorf("%w: score %s is measured, and block scores are of gradients: take %v exact", search.ErrMethod, options.Score, input.Method)
	case o.Scoring.Weights == "" || o.Scoring.Data == "" && o.Scoring.Inputs == "":
		return fmt.Errorf("%w: score %s is of the predictions of trained weights on images: give %v, and %v", search.ErrMethod, options.Score, input.Weights, input.Data)
	}
	return nil
}

// cuts returns the score with its table, and the digest under which the table is stored. The table
// is measured, or read from the file of sums.
func (o SearchOptions) cuts(ctx context.Context, from material, score search.ScoreMethod, weights map[string]tensorfile.Tensor, timing *Timing) (search.ScoreMethod, string, error) {
	batch, err := from.batch(ctx)
	if err != nil {
		return score, "", err
	}
	digest, store := scoringDigest(from.space, weights, batch), sumsPath(o.Out)
	stored, at := findStored(store, "what is measured", "measuring", o.Log, func(path string) (*search.Table, error) {
		return readCuts(path, from.space, digest)
	})
	switch at {
	case "":
	case store:
		return score.With(stored), digest, nil
	default:
		return score.With(stored), digest, writeCuts(store, digest, stored)
	}
	began := time.Now()
	d, err := proxy.NewDivergence(ctx, o.Engine, scored(from.space), weights, batch)
	if errors.Is(err, proxy.ErrInputs) && from.Inputs != "" {
		err = fmt.Errorf("%w %s: %w", input.Inputs, from.Inputs, err)
	}
	if err != nil {
		return score, "", err
	}
	defer d.Close()
	done := 0
	table, err := search.CutsTable(from.space, func(a space.Arch) (float64, error) {
		if done++; o.Progress != nil {
			o.Progress(done, search.CutsCount(from.space))
		}
		return d.Of(ctx, a)
	})
	if err != nil {
		return score, "", err
	}
	timing.Gradients += time.Since(began).Seconds()
	return score.With(table), digest, writeCuts(store, digest, table)
}

// cutsKey is the key under which a table is stored in the file of sums.
func cutsKey(digest string) string { return "cuts " + digest }

func readCuts(path string, s *space.Space, digest string) (*search.Table, error) {
	all, err := readStore(path)
	if err != nil {
		return nil, err
	}
	text, ok := all[cutsKey(digest)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	table := &search.Table{}
	if err := json.Unmarshal(text, table); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !search.ParamsTable(s).Alike(table) {
		return nil, fmt.Errorf("%s: its table of cuts is not of the space %s", path, s.Name)
	}
	return table, nil
}

func writeCuts(path, digest string, table *search.Table) error {
	return store(path, cutsKey(digest), table)
}
