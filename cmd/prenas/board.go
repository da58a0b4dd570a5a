package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/spf13/cobra"

	"prenas/internal/board"
)

func boardCommand(g *global) *cobra.Command {
	var o board.Options
	var listen string
	c := &cobra.Command{
		Use: "board DIR", Short: "Show all runs below a folder in the browser, live", Args: cobra.ExactArgs(1),
		Long: `Show all runs, searches and audits below a folder as pages in the browser. The page of a run that
trains follows it. Runs can be laid over one another. Nothing is written. No file outside of the
folder is read, but for image files below a folder of --images, which the names of the images that a
model was wrong on then lead to.

Without --listen only this machine can ask. Whoever can reach another address sees all that is
shown, without a password; a request must name the server by an address, localhost or a --host.`,
		Example: "  prenas board runs --images /data/flowers\n  prenas board runs --listen :8090 --host gpu1.example.org",
		RunE: func(c *cobra.Command, args []string) error {
			level := slog.LevelInfo
			if g.quiet {
				level = slog.LevelWarn
			}
			o.Log = slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
			b, err := board.Open(args[0], o)
			if err != nil {
				return err
			}
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				return errors.Join(usagef("--listen %s: %w", listen, err), b.Close())
			}
			defer listener.Close()
			if tcp, ok := listener.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
				o.Log.Warn("whoever reaches this address sees the runs", "address", tcp.String())
			}
			fmt.Printf("showing %s at http://%s/\n", args[0], listener.Addr())
			return errors.Join(b.Run(c.Context(), listener), b.Close())
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:8090", "address and port; :8090 is every address, port 0 a free one")
	f.StringSliceVar(&o.Hosts, "host", nil, "name by which browsers may ask, beside addresses and localhost; can be given again")
	f.StringArrayVar(&o.Images, "images", nil, "folder of images whose files may be shown too; can be given again")
	f.DurationVar(&o.Every, "every", 0, "how often an open page looks for what is new (default 1s)")
	return c
}
