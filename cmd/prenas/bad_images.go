package main

import (
	"errors"

	"github.com/spf13/pflag"
)

// onBadImage is the flag that says what to do with a damaged image.
type onBadImage struct {
	skip      bool
	elsewhere bool // where the flag is left out, something else says it
}

func (o *onBadImage) String() string {
	switch {
	case o.skip:
		return "skip"
	case o.elsewhere:
		return ""
	}
	return "fail"
}

func (o *onBadImage) Set(text string) error {
	if text != "fail" && text != "skip" {
		return errors.New("it is fail or skip")
	}
	o.skip = text == "skip"
	return nil
}

func (o *onBadImage) Type() string { return "fail|skip" }

func (o *onBadImage) add(flags *pflag.FlagSet, instead string) {
	o.elsewhere = instead != ""
	flags.Var(o, "on-bad-image", "what to do with an image that cannot be read: fail, naming it, or skip it and list it at the end"+instead)
}
