package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prenas/internal/data"
)

const badImageFlag = "on-bad-image"

// hint adds to the error of a damaged image how to leave such images out.
func hint(c *cobra.Command, err error) string {
	var damaged *data.DamagedImage
	if c.Flags().Lookup(badImageFlag) == nil || !errors.As(err, &damaged) {
		return ""
	}
	skip := "--" + badImageFlag + " skip"
	if out := c.Flags().Lookup("out"); c.Name() == "train" || c.Name() == "finetune" {
		return "; go on without what cannot be read by prenas train --resume --out " + out.Value.String() + " " + skip
	}
	return "; " + skip + " leaves out what cannot be read"
}

// onBadImage is the value of --on-bad-image: what to do with a damaged image.
type onBadImage struct {
	skip      bool
	elsewhere bool // where the flag is left out the recipe decides
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
	flags.Var(o, badImageFlag, "what to do with an image that cannot be read: fail, naming it, or skip it and list it at the end"+instead)
}
