package ranks

import (
	"os"
	"strconv"
)

// LibraryEnv names the file of the MPI library by its absolute path, where the system does not find one by the
// usual names.
const LibraryEnv = "PRENAS_MPI"

// launchers are known by what they put into the environment of the processes that they start. The
// first that speaks is the one: mpirun within a job of Slurm is mpirun.
var launchers = []struct {
	name, size, rank string
	libraries        []string
}{
	{"Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", []string{"libmpi.so.40", "libmpi_abi.so.1", "libmpi_abi.so.0"}},
	{"a launcher of PMI, such as MPICH's mpirun,", "PMI_SIZE", "PMI_RANK", []string{"libmpich.so.12", "libmpi.so.12", "libmpi_abi.so.1", "libmpi_abi.so.0", "libmpi.so.40"}},
	{"srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", []string{"libmpi.so.40", "libmpich.so.12", "libmpi.so.12", "libmpi_abi.so.1", "libmpi_abi.so.0"}},
}

// launch is what the environment says of how this process was started.
type launch struct {
	launcher   string
	rank, size int
	libraries  []string // to try
}

func launched() launch {
	for _, l := range launchers {
		size, err := strconv.Atoi(os.Getenv(l.size))
		if err != nil {
			continue
		}
		rank, _ := strconv.Atoi(os.Getenv(l.rank))
		return launch{l.name, rank, size, l.libraries}
	}
	return launch{size: 1}
}

// Launched tells by the environment which of how many processes a launcher started this is;
// 0 of 1 without one. Nothing is opened.
func Launched() (rank, size int) {
	l := launched()
	return l.rank, l.size
}
