package ami

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/atomicwriter"
	gossh "golang.org/x/crypto/ssh"

	"bake/builder"
)

// workfiles is a folder in the run's working directory with what a machine's
// keys and deadlines are: they have to be the same when another process goes
// on with the run, and the private ones stand nowhere else.
type workfiles struct{ dir string }

// workfilesOf returns the folder of the machine that a step opens.
func workfilesOf(sc *builder.Scope) (workfiles, error) {
	name := "ami-" + strings.NewReplacer("/", "-", "@", "-").Replace(string(sc.Step))
	return openWorkfiles(sc, name)
}

func openWorkfiles(sc *builder.Scope, name string) (workfiles, error) {
	w := workfiles{filepath.Join(sc.WorkDir, filepath.Base(name))}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return w, fmt.Errorf("making a folder for the machine's keys: %w", err)
	}
	return w, nil
}

func (w workfiles) name() string { return filepath.Base(w.dir) }

// The files.
const (
	loginKey  = "id_ed25519"   // bake's own key, for logging in
	hostKey   = "host_ed25519" // the machine's
	factsFile = "machine.json" // workfacts
)

// key returns a private key that is made when it is asked for first, and its
// public part as authorized_keys has it.
func (w workfiles) key(name string) (private []byte, public string, err error) {
	private, err = os.ReadFile(filepath.Join(w.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		if private, err = newKey(); err == nil {
			err = w.write(name, private)
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("making an SSH key: %w", err)
	}
	signer, err := gossh.ParsePrivateKey(private)
	if err != nil {
		return nil, "", fmt.Errorf("reading SSH key %s: %w", filepath.Join(w.dir, name), err)
	}
	return private, strings.TrimSpace(string(gossh.MarshalAuthorizedKey(signer.PublicKey()))), nil
}

func newKey() ([]byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := gossh.MarshalPrivateKey(key, "bake")
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}

// write makes a file whole or not at all, for this user only.
func (w workfiles) write(name string, data []byte) error {
	return atomicwriter.WriteFile(filepath.Join(w.dir, name), data, 0o600)
}

// workfacts are the parameters of creating calls that must not change between
// their repeats.
type workfacts struct {
	Expires time.Time      `json:"expires"`
	Tries   map[string]int `json:"tries,omitempty"` // by token of the instance: the try that was begun last
	// Cleaned is the machine that has been told to remove its keys: it lets
	// nobody in any more.
	Cleaned string `json:"cleaned,omitempty"`
	// Captured is the machine whose image is being made and which is not needed
	// for that any more: it may have ended.
	Captured string `json:"captured,omitempty"`
}

// facts returns what is known; made anew, the machine may live for lifetime.
func (w workfiles) facts(lifetime time.Duration) (workfacts, error) {
	f, err := w.read()
	if errors.Is(err, fs.ErrNotExist) {
		f.Expires = time.Now().Add(lifetime).UTC().Truncate(time.Second)
		return f, w.save(f)
	}
	return f, err
}

// read returns what is known; fs.ErrNotExist if nothing is.
func (w workfiles) read() (f workfacts, err error) {
	data, err := os.ReadFile(filepath.Join(w.dir, factsFile))
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil {
		return f, fmt.Errorf("reading %s: %w", filepath.Join(w.dir, factsFile), err)
	}
	return f, nil
}

func (w workfiles) save(f workfacts) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return w.write(factsFile, data)
}

func (w workfiles) path(name string) string { return filepath.Join(w.dir, name) }
