package train

import (
	"slices"

	"prenas/internal/fsys"
	"prenas/internal/space"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

// Weights loads the shared weights of a run: those of the checkpoint that did best on
// the held-out part, else of the newest that is whole, telling skip about each that is
// not. Where the run keeps averages of the weights, those. It returns the number of updates behind them.
func Weights(f fsys.FS, run string, s *space.Space, skip func(path string, why error)) (map[string]tensorfile.Tensor, int, error) {
	net := supernet.New(s)
	h, progress, err := newestCheckpoint(f, run, net, skip)
	if err != nil {
		return nil, 0, err
	}
	if best := progress.BestStep; best != 0 && best != progress.Step {
		path := checkpointPath(run, best)
		if atBest, p, err := readCheckpoint(f, path, net); err == nil {
			h, progress = atBest, p
		} else {
			skip(path, err)
		}
	}
	prefix := prefixWeights
	if slices.Contains(h.prefixes(net), prefixEMA) {
		prefix = prefixEMA
	}
	weights := map[string]tensorfile.Tensor{}
	for _, p := range net.Params() {
		weights[p.Name] = h[prefix+p.Name]
	}
	return weights, progress.Step, nil
}
