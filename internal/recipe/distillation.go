package recipe

import "errors"

// Distill lets a teacher say what the images are, beside their labels: a model from a
// file, or the largest architecture of an update, which teaches the others of it on the
// same images (the sandwich rule's in-place distillation: Yu and Huang, "Universally
// Slimmable Networks and Improved Training Techniques", ICCV 2019).
//
//	loss = (1 - alpha) · CE(student, labels) + alpha · T² · CE(student at T, teacher at T)
//
// "At T" divides logits by the temperature (Hinton et al., "Distilling the Knowledge in a
// Neural Network", 2015); T² keeps the size of the gradient.
type Distill struct {
	Teacher     string  `yaml:"teacher,omitempty" json:"teacher,omitempty"`                          // model file, .safetensors or .onnx, of prenas export; largest: the largest architecture of an update (sampler sandwich); empty: off
	Kind        string  `yaml:"kind,omitempty" json:"kind,omitempty" oneof:"soft hard"`              // the teacher's probabilities, or its likeliest class as a label
	Alpha       float64 `yaml:"alpha,omitempty" json:"alpha,omitempty" range:"(0,1]"`                // of the teacher in the loss; the rest are the labels
	Temperature float64 `yaml:"temperature,omitempty" json:"temperature,omitempty" range:"(0,1000]"` // that both sides' logits are divided by; only soft
}

const (
	LargestTeacher = "largest"
	SoftTarget     = "soft"
	HardTarget     = "hard"
)

// IsZero tells whether there is no teacher: what else is set then changes nothing.
func (d Distill) IsZero() bool { return d.Teacher == "" }

func (d Distill) InPlace() bool { return d.Teacher == LargestTeacher }

// File of the teacher; empty where none has to be opened.
func (d Distill) File() string {
	if d.InPlace() {
		return ""
	}
	return d.Teacher
}

// ErrTeacher names the recipe's key in errors about a teacher.
var ErrTeacher = errors.New("distill.teacher")
