package pytools

// MPICH is the MPI of that name, with the library of the ABI of MPI 5, for Linux x86-64. mpiexec lies beside
// python.
const MPICH = `
mpich==5.0.2 --hash=sha256:8fed465ebff269ea2ebac179a25de02671ddf8df476e0f115be089015015cfd4
`
