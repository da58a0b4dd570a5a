package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"prenas/internal/evaluate"
	"prenas/internal/ranks"
	"prenas/internal/rundir"
)

// Several ranks make one benchmark. In each round every rank trains a chunk of architectures by itself.
// Then all ranks get all results, so each knows what is left. The first rank reads and writes the file.

// begin gives all ranks the results that the file has. The first rank reads it.
func (b *Benchmark) begin(o Options) error {
	w := o.Engine.Ranks()
	if err := b.alike(w); err != nil {
		return err
	}
	text, err := w.Decided("the benchmark", func() (string, error) {
		if err := b.goOn(o); err != nil {
			return "", err
		}
		text, err := json.Marshal(b.Archs)
		return string(text), err
	})
	if err != nil || w.First() {
		return err
	}
	var first []Trained
	if err := json.Unmarshal([]byte(text), &first); err != nil {
		return fmt.Errorf("%w: the first one's benchmark: %w", ranks.ErrDiffer, err)
	}
	for i, t := range first { // the architectures are the same, since alike compared the plans
		b.Archs[i].Results = t.Results
	}
	return nil
}

// alike refuses ranks whose plans differ.
func (b *Benchmark) alike(w *ranks.World) error {
	if w.Size() == 1 {
		return nil
	}
	is := func(x any) string { // of plain values
		text, _ := json.MarshalIndent(x, "", " ")
		return string(text)
	}
	archs := make([]string, len(b.Archs))
	for i, a := range b.Archs {
		archs[i] = a.Arch
	}
	return w.Same("the start",
		ranks.Fact{What: "space", Is: is(b.Space)},
		ranks.Fact{What: "recipe", Is: is(b.Recipe)},
		ranks.Fact{What: "images (their digest)", Is: rundir.Short(b.Data.Digest)},
		ranks.Fact{What: "seeds", Is: fmt.Sprintf("%d, of the architectures %d", b.Seeds, b.Draw)},
		ranks.Fact{What: "architectures", Is: strings.Join(archs, "\n")},
		ranks.Fact{What: "the audit", Is: is(b.Header)})
}

// share divides the chunks among the ranks, calls get for those of this rank, and keeps the scores of
// all. get is told how many architectures all ranks work on meanwhile. It calls met so many times as
// meetings says; each time is a meeting of the ranks, at which its context may end.
func (b *Benchmark) share(ctx context.Context, o Options, seed uint64, chunks []chunk, meetings int,
	get func(ctx context.Context, own chunk, together int, met func()) ([]evaluate.Score, error),
) error {
	w := o.Engine.Ranks()
	ctx, met, done := w.Joint(ctx, fmt.Sprintf("the trainings of seed %d", seed))
	defer done()
	for round := range slices.Chunk(chunks, w.Size()) {
		var own []evaluate.Score
		var err error
		if w.Rank() < len(round) {
			together := 0
			for _, c := range round {
				together += len(c.archs)
			}
			own, err = get(ctx, round[w.Rank()], together, met)
		} else {
			for range meetings {
				if met(); ctx.Err() != nil {
					break
				}
			}
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		text, err := json.Marshal(own)
		if err != nil {
			return err
		}
		all, err := w.Gather("the scores of a training", text)
		if err != nil {
			return err
		}
		for rank, c := range round {
			var scores []evaluate.Score
			if err := json.Unmarshal(all[rank], &scores); err != nil {
				return fmt.Errorf("the scores of %s: %w", w.Name(rank), err)
			}
			b.done(seed, c.archs, scores)
		}
		if w.First() {
			if err := b.Write(o.FS, o.Out); err != nil {
				return err
			}
		}
	}
	return nil
}
