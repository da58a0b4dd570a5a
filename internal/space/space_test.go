package space

import "testing"

func TestBuiltInSpacesLoad(t *testing.T) {
	for _, name := range Names() {
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-10s %v architectures, params %d .. %d, MACs %d .. %d", name, s.Size(),
			s.Model.Params(s.Smallest()), s.Model.Params(s.Largest()), s.Model.MACs(s.Smallest()), s.Model.MACs(s.Largest()))
	}
}
