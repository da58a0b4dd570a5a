package ranks

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ErrDiffer: the ranks would not do the same work, or not by the same means.
var ErrDiffer = errors.New("the ranks differ")

// Fact is what must be the same on all ranks. What names it for a person.
type Fact struct{ What, Is string }

// Same refuses ranks whose facts are not this one's; all ranks name the same ones. The error wraps ErrDiffer and says
// of the first fact that differs what it is on this rank and on the other.
func (w *World) Same(where string, own ...Fact) error {
	if w.Size() == 1 {
		return nil
	}
	text, err := json.Marshal(own)
	if err != nil {
		return err
	}
	all, err := w.Gather(where, text)
	if err != nil {
		return err
	}
	for rank, text := range all {
		var theirs []Fact
		if err := json.Unmarshal(text, &theirs); err != nil || len(theirs) != len(own) {
			return fmt.Errorf("%w: %s does other work than %s", ErrDiffer, w.Name(rank), w.Name(w.Rank()))
		}
		for i, o := range own {
			if o.Is != theirs[i].Is {
				ours, other := apart(o.Is, theirs[i].Is)
				return fmt.Errorf("%w in %s: %s has %s, %s has %s", ErrDiffer, o.What, w.Name(w.Rank()), ours, w.Name(rank), other)
			}
		}
	}
	return nil
}

// apart are the first lines by which two texts differ, as a person is told of them.
func apart(one, other string) (ofOne, ofOther string) {
	for ofOne == ofOther {
		ofOne, one, _ = strings.Cut(one, "\n")
		ofOther, other, _ = strings.Cut(other, "\n")
	}
	told := func(line string) string { return cmp.Or(strings.Trim(line, " ,"), "nothing") }
	return told(ofOne), told(ofOther)
}
