// Package input names what a stage of the job is given: where images come from, how many of them a
// batch has, where to write. An error or an advice that concerns an input has its Name in it. How
// the reader gives that input is the business of the program that he talks to: it says so by Spell.
// A library has no flags, so without Spell an input is called by its plain name.
package input

import "sync/atomic"

// Name of an input. It is an error too: an error that wraps a Name is about that input, and another
// value of it may avoid the error.
//
//	fmt.Errorf("%w %s: it has no images", input.Data, source)
//
// says "data folder:x: it has no images", or "--data folder:x: it has no images" in a program with
// flags, and errors.Is(err, input.Data) is true. What is only named, as in an advice, is not
// wrapped: it is written by %v.
type Name string

// The inputs of the stages.
const (
	Activation     Name = "activation"
	Arch           Name = "arch"
	Backend        Name = "backend"
	Batch          Name = "batch"
	Batches        Name = "batches"
	Benchmark      Name = "benchmark"
	Body           Name = "body"
	Budgets        Name = "budgets"
	Candidates     Name = "candidates"
	Crops          Name = "crops"
	Data           Name = "data"
	Devices        Name = "devices"
	Entry          Name = "entry"
	Epochs         Name = "epochs"
	Family         Name = "family"
	Form           Name = "form"
	Format         Name = "format"
	HeadDim        Name = "head-dim"
	Host           Name = "host"
	ImageSize      Name = "image-size"
	Images         Name = "images"
	Inherit        Name = "inherit"
	Inputs         Name = "inputs"
	Interval       Name = "interval"
	LR             Name = "lr"
	Latency        Name = "latency"
	LatencyBatch   Name = "latency-batch"
	LatencyProfile Name = "latency-profile"
	Mean           Name = "mean"
	Method         Name = "method"
	NormEps        Name = "norm-eps"
	Padding        Name = "padding"
	Opset          Name = "opset"
	OrderBy        Name = "order-by"
	Out            Name = "out"
	Patience       Name = "patience"
	Params         Name = "params"
	Pixels         Name = "pixels"
	Pool           Name = "pool"
	Precision      Name = "precision"
	Predictions    Name = "predictions"
	Proxy          Name = "proxy"
	Quantize       Name = "quantize"
	Queue          Name = "queue"
	Recalibrate    Name = "recalibrate"
	Recipe         Name = "recipe"
	Reduced        Name = "reduced"
	Resume         Name = "resume"
	RollBack       Name = "roll-back"
	Sampler        Name = "sampler"
	Space          Name = "space"
	Split          Name = "split"
	Std            Name = "std"
	TLSCert        Name = "tls-cert"
	TLSKey         Name = "tls-key"
	Weights        Name = "weights"
)

// Budget is what an architecture may have of a cost, in a list of budgets.
func Budget(cost string) Name { return Name(cost) }

// Least is the least that an architecture may have of a cost.
func Least(cost string) Name { return Name("min-" + cost) }

// Most is the most that an architecture may have of a cost.
func Most(cost string) Name { return Name("max-" + cost) }

var spelling atomic.Pointer[func(Name) string]

// Spell makes how the way in which this process writes names of inputs. A program calls it once,
// before anything else.
func Spell(how func(Name) string) { spelling.Store(&how) }

// String is the name as this process writes it.
func (n Name) String() string {
	if how := spelling.Load(); how != nil {
		return (*how)(n)
	}
	return string(n)
}

// Error is String.
func (n Name) Error() string { return n.String() }
