// Package exhibit reads the files of runs, searches and audits, and makes sections of a page of them,
// with charts and tables. Packages report and board put the sections on pages: report on one file,
// board on a live page in the browser.
//
//	RUN/manifest.json ─────┐
//	RUN/candidates.json ───┤
//	RUN/metrics.jsonl ─────┼─► Run ──► Sections
//	RUN/timing.jsonl ──────┤
//	RUN/results.json ──────┤
//	RUN/predictions.jsonl ─┘
//
// A section leaves out what cannot be read, and says so. A journal that has grown is read from where
// it was read to before. Names and texts of files are escaped. A section needs no script, and nothing
// is fetched for it from elsewhere.
package exhibit
