package job

import (
	"prenas/internal/exhibit"
	"prenas/pkg/space"
)

// SearchSections are the sections of a page that show a candidates file and the files beside it.
func SearchSections(path string) ([]exhibit.Section, error) {
	candidates, err := space.ReadCandidates(path)
	if err != nil {
		return nil, err
	}
	s := exhibit.Search{Candidates: candidates}
	meta, err := ReadMeta(path)
	if err != nil {
		s.Notes = append(s.Notes, err.Error())
		return s.Sections()
	}
	s.Space, s.Cost, s.Enumerated, s.Settings = meta.Space, meta.Cost, meta.Enumerated, meta.Search
	explained, err := Explain(ExplainOptions{Candidates: path})
	if err != nil {
		s.Notes = append(s.Notes, "Why the winners won is not shown: "+err.Error())
	}
	for _, e := range explained {
		s.Pairs = append(s.Pairs, exhibit.Pair{Interval: e.Interval, Proxy: e.Proxy, Winner: e.Winner, RunnerUp: e.RunnerUp, Ranked: e.Ranked != nil, Explanation: e.Explanation})
	}
	return s.Sections()
}
