// Package chart draws curves and points with their intervals as SVG, each with its numbers as
// a table beside it.
//
// It is SVG made in Go and no library in JavaScript, because the same chart must read without a
// script in a file that is kept (prenas report), grow on a live page (prenas board), follow the
// reader's light or dark page, print, scale to any width, and be read by a screen reader. A
// canvas does none of the last four.
//
// Colours and sizes are in [CSS], which the page must have.
package chart
