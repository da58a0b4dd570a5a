// Package exhibit is what there is to see of runs, searches and audits: it reads their files and
// makes sections of a page of them, with charts and tables. The pages themselves are those of
// report, one file, and of board, which is live; both show the same sections.
//
//	RUN/manifest.json ─────┐
//	RUN/candidates.json ───┤
//	RUN/metrics.jsonl ─────┼─► Run ──► Sections
//	RUN/timing.jsonl ──────┤
//	RUN/results.json ──────┤
//	RUN/predictions.jsonl ─┘
//
// What cannot be read is left out and said. Journals are read on from where they were read
// to. Names and texts of files are escaped. No script is needed to read a section, and nothing
// is fetched for it from elsewhere.
package exhibit
