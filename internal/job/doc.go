// Package job holds the stages of the whole job: search, training, evaluation.
// Each works from the files of the one before and leaves files for the next,
// so commands run a stage alone and the quickstart runs all of them.
package job
