package applet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"
)

// httpd serves the files below a directory until it is told to end: enough for
// demonstrations and tests, and ended by TERM even as process 1.
func httpd(ctx context.Context, c *Call) error {
	o, err := c.parse("fvp:h:", map[string]byte{"port": 'p', "home": 'h'})
	if err != nil {
		return err
	}
	addr := o.get('p', "80")
	if !strings.Contains(addr, ":") {
		addr = ":" + addr
	}
	root, err := os.OpenRoot(c.Path(o.get('h', ".")))
	if err != nil {
		return err
	}
	defer root.Close()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := &http.Server{Handler: http.FileServerFS(root.FS()), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Fprintf(c.Stderr, "httpd: listening on %s\n", listener.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := server.Shutdown(end); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// wget fetches a URL into a file, or to stdout with -O -.
func wget(ctx context.Context, c *Call) error {
	o, err := c.parse("qO:P:ST:t:c", map[string]byte{"quiet": 'q', "output-document": 'O', "directory-prefix": 'P', "timeout": 'T', "tries": 't', "spider": 'S'})
	if err != nil {
		return err
	}
	if len(o.rest) == 0 {
		return usagef("missing URL")
	}
	limit, err := seconds(o.get('T', "900"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, address := range o.rest {
		if !strings.Contains(address, "://") {
			address = "http://" + address
		}
		if err := c.get(ctx, o, address); err != nil {
			c.Warn(err)
		}
	}
	return nil
}

func (c *Call) get(ctx context.Context, o options, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("server returned error: HTTP %s", response.Status)
	}
	if o.has("S") {
		return nil
	}
	name := o.get('O', "")
	if name == "" {
		if name = path.Base(u.Path); name == "/" || name == "." {
			name = "index.html"
		}
		name = path.Join(o.get('P', "."), name)
	}
	out := c.Stdout
	if name != "-" {
		f, err := os.Create(c.Path(name))
		if err != nil {
			return err
		}
		defer f.Close()
		out = f
	}
	_, err = io.Copy(out, response.Body)
	return err
}
