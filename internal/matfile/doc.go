// Package matfile reads MATLAB's files of version 5 (MATLAB 5 to 7.2), in which some
// data sets keep their labels: numbers, text, cells and structs, compressed or not.
//
// A file is data from elsewhere: no size that it claims is believed before as many bytes
// are there, what unpacks to more than a limit is refused, and so is what this package
// does not know (sparse matrices, objects, complex numbers, version 7.3, which is HDF5).
package matfile
