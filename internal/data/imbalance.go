package data

// Imbalanced is from which Imbalance on classes are told to differ much in size.
const Imbalanced = 3

// Imbalance is how many times the training images of the smallest class that has any the
// largest class has; 0 where none is trained on.
func Imbalance(set *Dataset) float64 {
	counts := map[int]int{}
	for i := range set.Train.Len() {
		counts[set.Train.Label(i)]++
	}
	least, most := 0, 0
	for _, n := range counts {
		if least == 0 || n < least {
			least = n
		}
		most = max(most, n)
	}
	if least == 0 {
		return 0
	}
	return float64(most) / float64(least)
}
