package layout

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"prenas/internal/data"
)

// splitWords are the usual words for splits, in lower case.
var splitWords = [data.SplitCount][]string{
	data.TrainSplit: {"train", "training", "trn", "trainset", "trainval"},
	data.ValSplit:   {"val", "valid", "validation", "validate", "valset", "vals", "validations", "dev", "devel", "eval", "evaluation", "holdout", "heldout"},
	data.TestSplit:  {"test", "testing", "tst", "tests", "testset"},
}

// fillers are words that may stand beside a split's without saying anything else.
var fillers = []string{
	"set", "data", "dataset", "split", "image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "folder", "dir", "samples", "the", "my", "all", "jpg", "png", "jpeg",
}

// heldOut are the ways to write a word that some write as two.
var heldOut = regexp.MustCompile(`(?i)\b(hold|held)[-_. ]?(out)\b`)

// wordsOf divides a name at what is no letter and where a capital follows a small letter, in
// lower case.
func wordsOf(name string) (words []string) {
	name = heldOut.ReplaceAllStringFunc(name, func(string) string { return "holdout" })
	var word []rune
	flush := func() {
		if len(word) > 0 {
			words = append(words, strings.ToLower(string(word)))
			word = nil
		}
	}
	for _, r := range name {
		if !unicode.IsLetter(r) || unicode.IsUpper(r) && len(word) > 0 && unicode.IsLower(word[len(word)-1]) {
			flush()
		}
		if unicode.IsLetter(r) {
			word = append(word, r)
		}
	}
	flush()
	return words
}

// SplitIn is the split that the first such word of a name says. sure: the other words say nothing
// else.
func SplitIn(name string) (split int, sure bool) {
	split, sure = data.NoSplit, true
	for _, word := range wordsOf(name) {
		k := slices.IndexFunc(splitWords[:], func(words []string) bool { return slices.Contains(words, word) })
		switch {
		case k >= 0 && split == data.NoSplit:
			split = k
		case k >= 0 && k != split, k < 0 && !slices.Contains(fillers, word):
			sure = false
		}
	}
	return split, sure && split != data.NoSplit
}
