// Package pack keeps a data set as pixels that are mapped into memory, so that nothing is left to
// decode: Write makes the folder, Open opens it.
package pack
