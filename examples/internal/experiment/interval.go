package experiment

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is a mean over seeds with the half width of its 95 % interval, by Student's t; NaN of one value.
func Interval(values []float64) (middle, half float64) {
	n := float64(len(values))
	if n < 2 {
		return stat.Mean(values, nil), math.NaN()
	}
	middle, deviation := stat.MeanStdDev(values, nil)
	return middle, distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975) * deviation / math.Sqrt(n)
}

// Within is an Interval for people: "87.78 ± 0.37". sign is that of fmt, "+" or empty.
func Within(values []float64, sign string) string {
	middle, half := Interval(values)
	if math.IsNaN(half) {
		return fmt.Sprintf("%"+sign+".2f", middle)
	}
	return fmt.Sprintf("%"+sign+".2f ± %.2f", middle, half)
}
