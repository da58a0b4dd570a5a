package foreign

import (
	"fmt"
	"os"
	"strings"
)

// Restart begins the process anew if an environment variable makes the system load
// libraries from the working folder, without what does: a process cannot change that for
// itself later. It then does not return. tell gets a line about each such variable. A
// process must call it before it does anything else.
func Restart(tell func(string)) error {
	dirty := false
	for _, name := range libraryPaths {
		safe, dropped := split(os.Getenv(name))
		if len(dropped) == 0 {
			continue
		}
		dirty = true
		tell(fmt.Sprintf("%s: left out %s; %v", name, list(dropped), ErrPlace))
		value := strings.Join(safe, string(os.PathListSeparator))
		if err := os.Setenv(name, value); err != nil {
			return err
		}
		if value == "" {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	if !dirty {
		return nil
	}
	self, err := os.Executable()
	if err == nil {
		err = replace(self, os.Args, os.Environ())
	}
	return fmt.Errorf("begin anew without libraries of the working folder: %w", err)
}
