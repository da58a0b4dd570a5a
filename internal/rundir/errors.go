package rundir

import "errors"

// Errors a caller can act on. All others name the file that they are about.
var (
	// ErrWeights: a checkpoint has numbers that are not finite.
	ErrWeights = errors.New("the weights are not finite")

	// ErrNoCheckpoint: the run directory holds no checkpoint that can be read.
	ErrNoCheckpoint = errors.New("no usable checkpoint")

	// ErrOtherRun: a checkpoint or manifest belongs to a run with another recipe,
	// seed or set of candidates.
	ErrOtherRun = errors.New("the run directory belongs to another run")

	// ErrRunExists: the output folder already holds a run and resuming was not asked for.
	ErrRunExists = errors.New("the folder already holds a run")

	// ErrNoStats: weights without an architecture's running statistics.
	ErrNoStats = errors.New("there are no statistics of the batch norms of")
)
