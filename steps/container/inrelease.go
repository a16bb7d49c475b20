package container

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// lookTimeout is how long an archive may take to say what it holds.
const lookTimeout = 10 * time.Second

// maxInRelease is how big an InRelease file may be, in bytes (Debian's has 150 KB).
const maxInRelease = 8 << 20

type releaseFile struct {
	sum  string
	date time.Time
}

// An ArchiveError is an archive that did not say what it holds.
type ArchiveError struct {
	URL string
	Err error
}

func (e *ArchiveError) Error() string { return "asking " + e.URL + ": " + e.Err.Error() }

func (e *ArchiveError) Unwrap() error { return e.Err }

// Hint says what to check.
func (e *ArchiveError) Hint() string {
	return "check the release's name and the network; `mirror:` names another archive"
}

// inRelease fetches the signed table of contents of each suite. Its signature
// is checked by the bootstrap program, not here: here it only says whether
// something has changed.
func inRelease(ctx context.Context, suites []suite) ([]releaseFile, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	out := make([]releaseFile, len(suites))
	g, gctx := errgroup.WithContext(ctx)
	for i, s := range suites {
		g.Go(func() error {
			url := strings.TrimSuffix(s.Mirror, "/") + "/dists/" + s.Name + "/InRelease"
			data, err := read(gctx, url)
			if err != nil {
				return &ArchiveError{URL: url, Err: err}
			}
			sum := sha256.Sum256(data)
			out[i] = releaseFile{sum: hex.EncodeToString(sum[:]), date: releaseDate(data)}
			return nil
		})
	}
	return out, g.Wait()
}

func read(ctx context.Context, url string) ([]byte, error) {
	if path, ok := strings.CutPrefix(url, "file://"); ok {
		return os.ReadFile(path)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxInRelease+1))
	if err == nil && len(data) > maxInRelease {
		err = fmt.Errorf("it is longer than %d bytes", maxInRelease)
	}
	return data, err
}

// releaseDate reads the Date field; the zero time if there is none.
func releaseDate(data []byte) time.Time {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "Date: "); ok {
			for _, layout := range []string{time.RFC1123, time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 MST"} {
				if date, err := time.Parse(layout, strings.TrimSpace(value)); err == nil {
					return date.UTC()
				}
			}
		}
	}
	return time.Time{}
}
