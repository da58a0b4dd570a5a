package augment

import "math/rand/v2"

// setting is what the operations of a policy have in common.
type setting struct {
	fill   []uint8 // of points outside of the image, per channel
	filter Filter
}

// operation is one that a policy can name. level turns a magnitude, 0 to 10 (or
// the policy's mmax), into the argument of apply.
type operation struct {
	level func(magnitude float64, r *rand.Rand) float64
	apply func(img Image, argument float64, s setting) Image
}

// operations by timm's names. Levels are those of timm 0.5.4.
var operations = map[string]operation{
	"AutoContrast":         {none, autoContrast},
	"Equalize":             {none, equalize},
	"Invert":               {none, invert},
	"Rotate":               {either(30), rotate},
	"Posterize":            {steps(0, 4), posterize},
	"PosterizeIncreasing":  {steps(4, -4), posterize},
	"PosterizeOriginal":    {steps(4, 4), posterize},
	"Solarize":             {steps(0, 256), solarize},
	"SolarizeIncreasing":   {steps(256, -256), solarize},
	"SolarizeAdd":          {steps(0, 110), solarizeAdd},
	"Color":                {enhance, colour},
	"ColorIncreasing":      {enhanceIncreasing, colour},
	"Contrast":             {enhance, contrast},
	"ContrastIncreasing":   {enhanceIncreasing, contrast},
	"Brightness":           {enhance, brightness},
	"BrightnessIncreasing": {enhanceIncreasing, brightness},
	"Sharpness":            {enhance, sharpness},
	"SharpnessIncreasing":  {enhanceIncreasing, sharpness},
	"ShearX":               {either(0.3), shearX},
	"ShearY":               {either(0.3), shearY},
	"TranslateXRel":        {either(0.45), translateX},
	"TranslateYRel":        {either(0.45), translateY},
}

// maxMagnitude of a policy that does not set its own.
const maxMagnitude = 10

func none(float64, *rand.Rand) float64 { return 0 }

// either is up to most at magnitude 10, with either sign.
func either(most float64) func(float64, *rand.Rand) float64 {
	return func(magnitude float64, r *rand.Rand) float64 {
		return negate(magnitude/maxMagnitude*most, r)
	}
}

func negate(x float64, r *rand.Rand) float64 {
	if r.Float64() > 0.5 {
		return -x
	}
	return x
}

// steps goes in whole numbers from one at magnitude 0 by change at 10.
func steps(from, change int) func(float64, *rand.Rand) float64 {
	return func(magnitude float64, _ *rand.Rand) float64 {
		return float64(from + int(magnitude/maxMagnitude*float64(change)))
	}
}

// enhance goes from 0.1 at magnitude 0 to 1.9 at 10.
func enhance(magnitude float64, _ *rand.Rand) float64 { return magnitude/maxMagnitude*1.8 + 0.1 }

// enhanceIncreasing goes from 1, no change, either way by 0.9 at magnitude 10.
func enhanceIncreasing(magnitude float64, r *rand.Rand) float64 {
	return max(0.1, 1+negate(magnitude/maxMagnitude*0.9, r))
}
