// Package child measures in processes of their own, one for each measurement: what one side leaves
// behind, memory above all, does not fall on another. A job goes in as JSON and what was measured
// comes back as JSON.
package child

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"prenas/internal/program"
)

// marker is the environment variable that has the job of a process which Self or Other started.
const marker = "PRENAS_BENCH_JOB"

// Main runs compare, or measure in a process that Self or Other started: what measure returns is written as
// JSON to standard output. It ends when interrupted. An error is printed after the command's name,
// and the exit code is 1.
func Main[Job, Measured any](name string, compare func(context.Context) error, measure func(context.Context, Job) (Measured, error)) {
	program.Main(name, func(ctx context.Context) error {
		if text := os.Getenv(marker); text != "" {
			return answer(ctx, text, measure)
		}
		return compare(ctx)
	})
}

func answer[Job, Measured any](ctx context.Context, text string, measure func(context.Context, Job) (Measured, error)) error {
	var j Job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	m, err := measure(ctx, j)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

// Self starts this program anew for a job, and reads what its measure measured.
func Self(ctx context.Context, job, into any) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return Other(ctx, self, nil, job, into)
}

// Other is Self for another program that calls Main, with more environment variables (NAME=VALUE).
func Other(ctx context.Context, program string, env []string, job, into any) error {
	text, err := json.Marshal(job)
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, program)
	c.Env = append(append(os.Environ(), env...), marker+"="+string(text))
	return run(c, into)
}

// Python gives a program in Python the job on standard input, and reads what it prints.
func Python(ctx context.Context, interpreter, program string, job, into any) error {
	text, err := json.Marshal(job)
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, interpreter, "-c", program)
	c.Stdin = bytes.NewReader(text)
	return run(c, into)
}

// Median of what several measurements took, the upper of the middle two of an even number.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// run runs a command and reads the JSON that it prints. Its error has what the command complained.
func run(c *exec.Cmd, into any) error {
	var out, complaint bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaint
	if err := c.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return json.Unmarshal(out.Bytes(), into)
}
