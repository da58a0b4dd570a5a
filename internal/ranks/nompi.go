//go:build !linux || !cgo

package ranks

import "errors"

func openMPI([]string) (transport, error) {
	return nil, errors.New("MPI is not in this build: it needs Linux and cgo")
}
