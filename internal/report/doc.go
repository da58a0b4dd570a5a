// Package report turns a run directory, several of them, a search or an audit into one page that can
// be read, sent and kept.
//
//	RUN/manifest.json ───┐
//	RUN/candidates.json ─┤
//	RUN/metrics.jsonl ───┼─► Write ─► RUN/report.html
//	RUN/results.json ────┤
//	RUN/*.png ───────────┘
//
// # What it promises
//
//   - The page is whole in itself: no script, no font, no picture and no style is
//     fetched from anywhere. It reads the same in ten years and without a network.
//   - It follows the reader's choice of a light or a dark page.
//   - It is a function of the files it is of: the same files give the same bytes.
//   - No number in it is rounded before it is drawn, and every curve that is smoothed
//     is drawn over the points it was smoothed from.
package report
