// Package board shows in a browser all runs, searches and audits below a folder, live while they
// are made.
//
// # What it promises
//
//   - It reads and never writes. No path outside of the folder is read, whatever a request or a
//     link in the folder names, but for image files below folders that were named for that.
//   - A page that another site opens in the reader's browser cannot ask it: a request must name
//     this server by an address, or by a name that was allowed.
//   - Files are of whoever wrote the folder: their texts are escaped, what is damaged is left out and
//     said, what is too much is counted, and a fault while one page is made is that page's.
//   - Journals are read on from where they were read to, and only those that somebody looks at.
package board
