package train

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
)

// Distill lets the largest architecture of an update teach the others of it, on the same
// images: the sandwich rule's in-place distillation (Yu and Huang, "Universally
// Slimmable Networks and Improved Training Techniques", ICCV 2019).
type Distill struct {
	InPlace string  `yaml:"in_place,omitempty" json:"in_place,omitempty" oneof:"soft hard"` // probabilities, or the likeliest class; left out: off
	Weight  float64 `yaml:"weight,omitempty" json:"weight,omitempty" range:"[0,1]"`         // of the teacher in the targets; the rest are the labels
}

// hardTeaching takes the teacher's likeliest class as the label.
const hardTeaching = "hard"

func (r Recipe) teachesInPlace() bool { return r.Distill.InPlace != "" && r.Distill.Weight > 0 }

// mix is the targets [N, classes] with what a teacher's probabilities say. Nothing flows
// back to the teacher: its probabilities are an input.
func (d Distill) mix(targets, teacher *graph.Node) *graph.Node {
	if d.InPlace == hardTeaching {
		teacher = graph.OneHot(graph.ArgMax(teacher, -1, dtypes.Int32), teacher.Shape().Dimensions[1], teacher.DType())
	}
	return graph.Add(graph.MulScalar(targets, 1-d.Weight), graph.MulScalar(teacher, d.Weight))
}
