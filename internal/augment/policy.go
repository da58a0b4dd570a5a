package augment

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Policy is a random choice of operations, in timm's notation: a name and, in
// any order, what changes it.
//
//	rand-m9-mstd0.5-inc1    n2: two of fifteen operations, each with probability 1/2
//	v0r-mstd0.5             one of the 25 pairs that a search has found
//
//	m9       magnitude of rand, of 10 (default 10)
//	n3       operations an image of rand (default 2)
//	w0       rand draws by timm's weights, none twice
//	inc1     rand has the variants that grow stronger with the magnitude
//	mmax20   largest magnitude (default 10)
//	mstd0.5  standard deviation of the magnitude; above 100: uniform from 0 to it
type Policy struct {
	deviation, largest float64
	choices            [][]step  // one is drawn and applied in order,
	count              int       // count times,
	weights            []float64 // by these, each at most once; nil: all alike
}

// step of a policy.
type step struct {
	operation
	name        string
	probability float64
	magnitude   float64
}

const randName = "rand"

// ParsePolicy reads a policy.
func ParsePolicy(text string) (*Policy, error) {
	sections := strings.Split(text, "-")
	name := sections[0]
	table, isTable := tables[name]
	if !isTable && name != randName {
		return nil, fmt.Errorf("%w %q: %q is none of %s", ErrPolicy, text, name, strings.Join(PolicyNames(), ", "))
	}
	known := []string{"mstd"}
	if !isTable {
		known = []string{"m", "n", "w", "inc", "mmax", "mstd"}
	}
	values := map[string]float64{"m": maxMagnitude, "n": 2, "mmax": maxMagnitude}
	for _, section := range sections[1:] {
		digits := strings.IndexAny(section, "0123456789")
		if digits < 0 || !slices.Contains(known, section[:digits]) {
			return nil, fmt.Errorf("%w %q: %q is none of %s with a number behind it", ErrPolicy, text, section, strings.Join(known, ", "))
		}
		key := section[:digits]
		value, err := strconv.ParseFloat(section[digits:], 64)
		if err != nil || key != "mstd" && value != math.Trunc(value) || value > 1e6 {
			return nil, fmt.Errorf("%w %q: %s takes a whole number and mstd any, not %q", ErrPolicy, text, key, section[digits:])
		}
		values[key] = value
	}
	p := &Policy{deviation: values["mstd"], largest: values["mmax"], count: 1}
	if isTable {
		p.choices = parseTable(table)
		return p, nil
	}
	p.count = int(values["n"])
	for _, name := range randOperations {
		if values["inc"] > 0 {
			if _, has := operations[name+"Increasing"]; has {
				name += "Increasing"
			}
		}
		p.choices = append(p.choices, []step{{operations[name], name, 0.5, values["m"]}})
	}
	weight, weighted := values["w"]
	if weighted {
		p.weights = slices.Clone(randWeights)
	}
	drawable := len(p.weights) - count(p.weights, 0)
	switch {
	case weight != 0:
		return nil, fmt.Errorf("%w %q: there is only w0", ErrPolicy, text)
	case weighted && p.count > drawable:
		return nil, fmt.Errorf("%w %q: w0 has %d operations to draw from, not %d", ErrPolicy, text, drawable, p.count)
	case p.count < 1 || p.count > 100:
		return nil, fmt.Errorf("%w %q: n must be within 1 and 100", ErrPolicy, text)
	}
	return p, nil
}

func count(values []float64, x float64) int {
	n := 0
	for _, v := range values {
		if v == x {
			n++
		}
	}
	return n
}

// PolicyNames are what a policy may begin with.
func PolicyNames() []string {
	names := []string{randName}
	for name := range tables {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// apply draws and applies operations. filters are those to draw from where an
// operation needs one.
func (p *Policy) apply(img Image, fill []uint8, filters []Filter, r *rand.Rand) Image {
	weights := slices.Clone(p.weights)
	for range p.count {
		choice := r.IntN(len(p.choices))
		if weights != nil {
			choice = draw(weights, r)
			weights[choice] = 0
		}
		for _, s := range p.choices[choice] {
			if s.probability < 1 && r.Float64() > s.probability {
				continue
			}
			argument := s.level(p.magnitude(s.magnitude, r), r)
			img = s.apply(img, argument, setting{fill, pick(filters, r)})
		}
	}
	return img
}

// magnitude draws around a mean.
func (p *Policy) magnitude(mean float64, r *rand.Rand) float64 {
	switch {
	case p.deviation > 100:
		mean *= r.Float64()
	case p.deviation > 0:
		mean += p.deviation * r.NormFloat64()
	}
	return min(max(mean, 0), p.largest)
}

// draw an index in proportion to its weight.
func draw(weights []float64, r *rand.Rand) int {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	at, last := sum*r.Float64(), 0
	for i, w := range weights {
		if w == 0 {
			continue
		}
		if last = i; at < w {
			break
		}
		at -= w
	}
	return last
}
