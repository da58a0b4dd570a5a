// Package source opens data sets by name: SRC is fashion-mnist, which fetches itself, or KIND:PATH.
// Each kind has a line in the table of sources.
package source
