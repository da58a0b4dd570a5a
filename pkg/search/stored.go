package search

import (
	"encoding/json"
	"fmt"
	"slices"

	"prenas/internal/strictjson"
	"prenas/pkg/space"
)

// storedSums is the stored form of Sums: for each tensor, by its full name, the
// cuts and the sums over the corners that they make, in the order of measures.
type storedSums struct {
	Gradients bool                        `json:"gradients"`
	Rare      bool                        `json:"rare"`
	Tensors   map[string]storedPrefixSums `json:"tensors"`
}

type storedPrefixSums struct {
	Rows []int         `json:"rows"`
	Cols []int         `json:"cols"`
	Sums [][][]float64 `json:"sums"` // [measure][row cut][column cut]
}

// MarshalJSON writes the sums: some hundred kilobytes that stand for the
// weights and the gradients in every later search.
func (u *Sums) MarshalJSON() ([]byte, error) {
	stored := storedSums{Gradients: u.gradients, Rare: u.moments, Tensors: map[string]storedPrefixSums{}}
	u.each(func(name string, c *prefixSums) { stored.Tensors[name] = storedPrefixSums{c.rows, c.cols, c.sum[:]} })
	return json.Marshal(stored)
}

func (u *Sums) each(visit func(name string, c *prefixSums)) {
	for name, c := range u.outer {
		visit(name, c)
	}
	for i, block := range u.layers {
		for name, c := range block {
			visit(u.grid.prefix(i)+name, c)
		}
	}
}

// ParseSums reads sums that were stored for the same space. The error wraps
// ErrWeights if they were not.
func ParseSums(s *space.Space, text []byte) (*Sums, error) {
	var stored storedSums
	if err := strictjson.Unmarshal(text, &stored); err != nil {
		return nil, fmt.Errorf("%w: stored sums: %w", ErrWeights, err)
	}
	// Sums of nothing have the tensors and the cuts that the space asks for.
	u, err := newSums(s, func(_ string, rows, cols []int) (*prefixSums, error) { return &prefixSums{rows: rows, cols: cols}, nil })
	if err != nil {
		return nil, err
	}
	u.gradients, u.moments = stored.Gradients, stored.Rare
	u.each(func(name string, c *prefixSums) {
		if e := c.restore(stored.Tensors[name]); e != nil && err == nil {
			err = fmt.Errorf("%w: stored sums of tensor %s %w", ErrWeights, name, e)
		}
	})
	if err != nil {
		return nil, err
	}
	return u, u.checkGradients()
}

// restore takes stored sums if their cuts are those that are asked for.
func (c *prefixSums) restore(s storedPrefixSums) error {
	if !slices.Equal(s.Rows, c.rows) || !slices.Equal(s.Cols, c.cols) {
		return fmt.Errorf("are cut at %v and %v, the space asks for %v and %v", s.Rows, s.Cols, c.rows, c.cols)
	}
	if len(s.Sums) != int(measures) {
		return fmt.Errorf("have %d measures, want %d", len(s.Sums), measures)
	}
	for m, rows := range s.Sums {
		if len(rows) != len(c.rows) {
			return fmt.Errorf("have %d rows, want %d", len(rows), len(c.rows))
		}
		for _, row := range rows {
			if len(row) != len(c.cols) {
				return fmt.Errorf("have %d columns, want %d", len(row), len(c.cols))
			}
		}
		c.sum[m] = rows
	}
	return nil
}
