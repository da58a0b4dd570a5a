package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"prenas/internal/data/codec"
	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/serve"
	"prenas/internal/version"
)

// tokenEnv is the environment variable that may have the token of requests.
const tokenEnv = "PRENAS_TOKEN"

func serveCommand(g *global) *cobra.Command {
	o := serve.Options{Precision: engine.Float32, Decode: codec.Decode, Size: codec.Size}
	var listen, tokenFile string
	var megabytes, megapixels int
	c := &cobra.Command{
		Use: "serve FAMILY", Short: "Answer requests over HTTP with a folder of exported models", Args: cobra.ExactArgs(1),
		Long: `Serve the models of a folder that prenas export wrote, or one model file: .safetensors, and
.onnx where the onnxruntime library is at hand. The page at / takes an image and shows
what each model says. POST /classify takes the bytes of an image, or a form of files:

  ?model=NAME    that model answers
  ?within=5ms    the most accurate model that is expected to answer within that time
  ?top=3         how many classes

and /v2 is the Open Inference Protocol. GET /models lists the models, GET /metrics is for
Prometheus. A folder that changes is read anew; nothing is dropped.

The address is this machine's own (127.0.0.1) unless --listen says otherwise. A token that
requests must bring comes from --token-file or the environment variable ` + tokenEnv + `.
Ctrl-C finishes what is in flight. docs/serve.md has every route.`,
		Example: "  prenas serve models\n" +
			"  curl --data-binary @cat.jpg 'http://127.0.0.1:8080/classify?within=5ms'",
		RunE: func(c *cobra.Command, args []string) error {
			level := slog.LevelInfo
			if g.quiet {
				level = slog.LevelWarn
			}
			o.Log = slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
			o.Backend, o.Bytes, o.Pixels = g.backend, int64(megabytes)<<20, megapixels*1e6
			o.Version = version.String()
			var err error
			if o.Token, err = token(tokenFile); err != nil {
				return err
			}
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				return usagef("--listen %s: %w", listen, err)
			}
			defer listener.Close()
			s, err := serve.Open(c.Context(), args[0], o)
			if errors.Is(err, engine.ErrBackend) || errors.Is(err, serve.ErrOptions) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			scheme := "http"
			if o.CertFile != "" {
				scheme = "https"
			}
			address := listener.Addr()
			if tcp, ok := address.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && o.Token == "" {
				o.Log.Warn("whoever reaches this address may ask: give a token with --token-file", "address", address.String())
			}
			fmt.Printf("serving %s at %s://%s/\n", args[0], scheme, address)
			err = s.Run(c.Context(), listener)
			return errors.Join(err, s.Close())
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:8080", "address and port; :8080 is every address, port 0 a free one")
	f.IntVar(&o.Batch, "batch", 8, "images that a model computes at once, at most")
	f.IntVar(&o.Queue, "queue", 64, "images that wait for a model, at most; more are refused with 429")
	f.IntVar(&o.Requests, "requests", 64, "requests that are answered at once, at most; more are refused with 429")
	f.IntVar(&o.Images, "images", 32, "images of one request, at most")
	f.IntVar(&megabytes, "body", 32, "megabytes of one request, at most")
	f.IntVar(&megapixels, "pixels", 50, "megapixels of one image, at most")
	f.IntVar(&o.Top, "top", 5, "classes of an answer that does not say how many")
	f.DurationVar(&o.Timeout, "timeout", 0, "time for one request, at most (default 30s)")
	f.DurationVar(&o.Grace, "grace", 0, "time for what is in flight when the server stops (default 30s)")
	f.DurationVar(&o.Reload, "reload", 0, "how often the folder is looked at (default 2s)")
	f.BoolVar(&o.Degrade, "degrade", false, "under load, let a less accurate model answer requests that name none")
	f.StringVar(&tokenFile, "token-file", "", "file whose first line is the token that requests must bring")
	f.StringVar(&o.CertFile, "tls-cert", "", "file of the TLS certificate, PEM; with --tls-key")
	f.StringVar(&o.KeyFile, "tls-key", "", "file of the certificate's key, PEM")
	addPrecision(f, &o.Precision, "")
	return c
}

// token is the token that requests must have, from a file or the environment; empty: none.
func token(file string) (string, error) {
	if file == "" {
		return os.Getenv(tokenEnv), nil
	}
	text, err := fsys.ReadFile(fsys.OS, file)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", usagef("--token-file %s: its first line is empty", file)
	}
	return line, nil
}
