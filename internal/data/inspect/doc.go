// Package inspect tells what a data set holds: counts, sizes and values of its images, which of
// them are damaged or of one colour, and a sheet of thumbnails.
package inspect
