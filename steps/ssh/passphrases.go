package ssh

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Passphrases are those of encrypted keys that the user typed: each is asked
// for once in a process, however many machines it opens. They stay in memory.
type Passphrases struct {
	ask   func(ctx context.Context, question string) (string, error)
	mu    sync.Mutex
	known map[string]string
}

// NewPassphrases returns a memory that asks with ask; nil: there is nobody to ask.
func NewPassphrases(ask func(ctx context.Context, question string) (string, error)) *Passphrases {
	return &Passphrases{ask: ask, known: map[string]string{}}
}

// asks are how often a wrong passphrase may be typed.
const asks = 3

// of returns the passphrase of a key, which opens it.
func (p *Passphrases) of(ctx context.Context, k Key) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := k.File + "\x00" + string(k.PEM)
	if known, ok := p.known[id]; ok {
		return known, nil
	}
	question := "passphrase of " + k.name()
	for range asks {
		typed, err := p.ask(ctx, question)
		if err != nil {
			return "", fmt.Errorf("asking for the passphrase of %s: %w", k.name(), err)
		}
		if typed == "" {
			break
		}
		k.Passphrase = typed
		_, err = k.signer()
		if err == nil {
			p.known[id] = typed
			return typed, nil
		}
		if e, ok := errors.AsType[*PassphraseError](err); !ok || !e.Wrong {
			return "", err
		}
		question = "that is not it; passphrase of " + k.name()
	}
	return "", &PassphraseError{Key: k.name(), Wrong: k.Passphrase != ""}
}
