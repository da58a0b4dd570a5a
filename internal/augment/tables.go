package augment

import (
	"fmt"
	"strings"
)

// randOperations are those that rand draws from, and randWeights what w0 makes
// of their chances (timm 0.5.4).
var (
	randOperations = []string{
		"AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd",
		"Color", "Contrast", "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel",
	}
	randWeights = []float64{0.025, 0.005, 0, 0.3, 0, 0.005, 0.005, 0.025, 0.005, 0.005, 0.025, 0.2, 0.2, 0.1, 0.1}
)

// tables are the policies that were searched for: "original" is the ImageNet
// policy of AutoAugment (Cubuk et al., 2019), "v0" the one of the EfficientNet
// code. Those that end in r keep fewer bits as Posterize grows stronger. A pair of
// operations a line, each with probability and magnitude.
var tables = map[string]string{
	"original":  strings.ReplaceAll(tableOriginal, "Posterize", "PosterizeOriginal"),
	"originalr": strings.ReplaceAll(tableOriginal, "Posterize", "PosterizeIncreasing"),
	"v0":        tableV0,
	"v0r":       strings.ReplaceAll(tableV0, "Posterize", "PosterizeIncreasing"),
}

func parseTable(text string) [][]step {
	var choices [][]step
	for line := range strings.Lines(text) {
		var pair [2]step
		a, b := &pair[0], &pair[1]
		if _, err := fmt.Sscan(line, &a.name, &a.probability, &a.magnitude, &b.name, &b.probability, &b.magnitude); err != nil {
			panic("augment: table of a policy: " + line + err.Error())
		}
		for i, s := range pair {
			pair[i].operation = operations[s.name]
		}
		choices = append(choices, pair[:])
	}
	return choices
}

const tableOriginal = `Posterize 0.4 8  Rotate 0.6 9
Solarize 0.6 5  AutoContrast 0.6 5
Equalize 0.8 8  Equalize 0.6 3
Posterize 0.6 7  Posterize 0.6 6
Equalize 0.4 7  Solarize 0.2 4
Equalize 0.4 4  Rotate 0.8 8
Solarize 0.6 3  Equalize 0.6 7
Posterize 0.8 5  Equalize 1 2
Rotate 0.2 3  Solarize 0.6 8
Equalize 0.6 8  Posterize 0.4 6
Rotate 0.8 8  Color 0.4 0
Rotate 0.4 9  Equalize 0.6 2
Equalize 0 7  Equalize 0.8 8
Invert 0.6 4  Equalize 1 8
Color 0.6 4  Contrast 1 8
Rotate 0.8 8  Color 1 2
Color 0.8 8  Solarize 0.8 7
Sharpness 0.4 7  Invert 0.6 8
ShearX 0.6 5  Equalize 1 9
Color 0.4 0  Equalize 0.6 3
Equalize 0.4 7  Solarize 0.2 4
Solarize 0.6 5  AutoContrast 0.6 5
Invert 0.6 4  Equalize 1 8
Color 0.6 4  Contrast 1 8
Equalize 0.8 8  Equalize 0.6 3`

const tableV0 = `Equalize 0.8 1  ShearY 0.8 4
Color 0.4 9  Equalize 0.6 3
Color 0.4 1  Rotate 0.6 8
Solarize 0.8 3  Equalize 0.4 7
Solarize 0.4 2  Solarize 0.6 2
Color 0.2 0  Equalize 0.8 8
Equalize 0.4 8  SolarizeAdd 0.8 3
ShearX 0.2 9  Rotate 0.6 8
Color 0.6 1  Equalize 1 2
Invert 0.4 9  Rotate 0.6 0
Equalize 1 9  ShearY 0.6 3
Color 0.4 7  Equalize 0.6 0
Posterize 0.4 6  AutoContrast 0.4 7
Solarize 0.6 8  Color 0.6 9
Solarize 0.2 4  Rotate 0.8 9
Rotate 1 7  TranslateYRel 0.8 9
ShearX 0 0  Solarize 0.8 4
ShearY 0.8 0  Color 0.6 4
Color 1 0  Rotate 0.6 2
Equalize 0.8 4  Equalize 0 8
Equalize 1 4  AutoContrast 0.6 2
ShearY 0.4 7  SolarizeAdd 0.6 7
Posterize 0.8 2  Solarize 0.6 10
Solarize 0.6 8  Equalize 0.6 1
Color 0.8 6  Rotate 0.4 5`
