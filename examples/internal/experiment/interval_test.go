package experiment

import "testing"

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		values []float64
		sign   string
		want   string
	}{
		{[]float64{87, 88, 89}, "", "88.00 ± 2.48"}, // t of 2 degrees of freedom is 4.3027; 4.3027 / √3 = 2.4842
		{[]float64{0.5, 0.5}, "+", "+0.50 ± 0.00"},
		{[]float64{88}, "", "88.00"},
	} {
		if got := Within(c.values, c.sign); got != c.want {
			t.Errorf("%v: %s, want %s", c.values, got, c.want)
		}
	}
}
