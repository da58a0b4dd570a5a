package trainstep

// The order in which the parts of an update are added is a tree of pairs over their numbers,
// whoever adds them:
//
//	0 1  2 3   4 5    6
//	 01   23    45    6
//	   0123     456         the first of two branches is the largest power of two that
//	      0123456           leaves something to the second
//
// A process that has the parts one after the other keeps a sum for each power of two at most. One
// that has a run of them adds what the tree adds within the run, and what is left, the greatest
// whole branches of the run, is added by who gets all.

// span is a run of parts, or the branch of the tree over them.
type span struct{ from, to int } // parts from … to-1

// branches of a span of more than one part.
func (s span) branches() (first, second span) {
	n := 1
	for 2*n < s.to-s.from {
		n *= 2
	}
	return span{s.from, s.from + n}, span{s.from + n, s.to}
}

// within are the greatest branches of the tree s that lie within a run, in order.
func (s span) within(run span) []span {
	switch {
	case s.to <= run.from || run.to <= s.from:
		return nil
	case run.from <= s.from && s.to <= run.to:
		return []span{s}
	}
	first, second := s.branches()
	return append(first.within(run), second.within(run)...)
}

// parent is the branch of the tree s whose branches are first and second, if there is one.
func (s span) parent(first, second span) (parent span, is bool) {
	for s.to-s.from > 1 {
		a, b := s.branches()
		switch {
		case a == first && b == second:
			return s, true
		case second.to <= a.to:
			s = a
		case b.from <= first.from:
			s = b
		default:
			return span{}, false
		}
	}
	return span{}, false
}

// sum adds the branches that given has by their places, along the tree s.
func sum[T any](s span, given map[span]T, add func(first, second T) T) T {
	if value, has := given[s]; has {
		return value
	}
	first, second := s.branches()
	return add(sum(first, given, add), sum(second, given, add))
}

// partial is the sum of a branch.
type partial[T any] struct {
	span
	value T
}

// push puts a part behind the sums of those before it and adds what the tree of all adds. What
// is left after the last part of a run is all.within(run).
func push[T any](all span, sums []partial[T], part partial[T], add func(first, second T) (T, error)) ([]partial[T], error) {
	for len(sums) > 0 {
		last := sums[len(sums)-1]
		parent, is := all.parent(last.span, part.span)
		if !is {
			break
		}
		value, err := add(last.value, part.value)
		if err != nil {
			return nil, err
		}
		part, sums = partial[T]{parent, value}, sums[:len(sums)-1]
	}
	return append(sums, part), nil
}
