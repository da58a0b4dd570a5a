package pytools

// Autograd are the requirements of autograd, which differentiates NumPy code in
// float64, for Python 3.11 to 3.13 on Linux x86-64.
const Autograd = SciPy + `autograd==1.9.1 --hash=sha256:b788bae3fa010cbffb4cfb7b8ba2a3f0daa6072a8506da6164c779fe9cf3e05a
`
