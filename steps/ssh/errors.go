package ssh

import (
	"fmt"
	"strings"
	"time"

	"bake/internal/lazyregexp"
)

// A fatalError is one that trying again cannot cure.
type fatalError struct{ error }

func (e *fatalError) Unwrap() error { return e.error }

// Fatal returns err as one that Connect does not try again after.
func Fatal(err error) error { return &fatalError{err} }

// AuthError says that a machine refused the login.
type AuthError struct {
	Addr, User string
	Offered    []string // keys and other proofs it did not accept
	Unable     []string // what could not be offered, and why
	Said       string   // what it said
	err        error
}

func (e *AuthError) Error() string {
	offered := "nothing was there to offer"
	if len(e.Offered) > 0 {
		offered = "it did not accept " + strings.Join(e.Offered, ", ")
	} else if len(e.Unable) > 0 {
		offered += " (" + strings.Join(e.Unable, "; ") + ")"
	}
	text := fmt.Sprintf("logging in to %s as %s: permission denied: %s", e.Addr, e.User, offered)
	if said := strings.TrimSpace(e.Said); said != "" {
		text += "; it says: " + said
	}
	return text
}

func (e *AuthError) Unwrap() error { return e.err }

// Hint says what to do.
func (e *AuthError) Hint() string {
	if len(e.Offered) == 0 {
		return "name a private key in key:, or load one into an SSH agent (ssh-add); a password stands in password:"
	}
	if len(e.Offered) == 1 && e.Offered[0] == aPassword {
		return "check the user and the password; many machines let in with keys only"
	}
	return "check the user, and that its authorized_keys has one of these keys; images name their user: ec2-user, ubuntu, admin, ..."
}

// WrongUserError says that a machine wants another user to log in.
type WrongUserError struct {
	Addr, User string
	Right      string
}

func (e *WrongUserError) Error() string {
	return fmt.Sprintf("logging in to %s as %s: the machine asks to log in as %q instead", e.Addr, e.User, e.Right)
}

// Hint says what to do.
func (e *WrongUserError) Hint() string {
	return fmt.Sprintf("set user: %s, and sudo: true if the steps need root", e.Right)
}

var pleaseLogin = lazyregexp.New(`(?i)please log ?in as the (?:user )?["'\x60]?([a-z_][a-z0-9_.-]*)["'\x60]?(?: user)? rather than`)

// rightUser returns the user that a machine asks to log in as, or "".
func rightUser(said string) string {
	if m := pleaseLogin.FindStringSubmatch(said); m != nil {
		return m[1]
	}
	return ""
}

// BecomeError says that commands could not get another user's rights.
type BecomeError struct {
	User string // that was asked for
	Said string
}

func (e *BecomeError) Error() string {
	return fmt.Sprintf("becoming user %s: %s", e.User, strings.TrimSpace(e.Said))
}

// Hint says what to do.
func (e *BecomeError) Hint() string {
	return "sudo must let the login's user do that: without a password, or with the one in sudo_password"
}

// LostError says that the connection ended before a command's exit status
// came: nobody knows whether it did its work.
type LostError struct {
	Addr string
	Err  error // why; may be nil
}

func (e *LostError) Error() string {
	text := "losing the connection to " + e.Addr + " before the exit status came"
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *LostError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *LostError) Hint() string {
	return "whether the command finished is not known; a step that restarts the machine is `reboot`"
}

// DeadPeerError says that a machine was not heard for too long.
type DeadPeerError struct {
	Addr    string
	Silence time.Duration
}

func (e *DeadPeerError) Error() string {
	return fmt.Sprintf("%s has not been heard for %v", e.Addr, e.Silence.Round(time.Second))
}

// NoShellError says that a machine let us in, but runs no commands.
type NoShellError struct {
	Addr, User string
	Said       string
}

func (e *NoShellError) Error() string {
	said := strings.TrimSpace(e.Said)
	if said == "" {
		said = "no answer from its shell"
	}
	return fmt.Sprintf("running a command on %s as %s: %s", e.Addr, e.User, said)
}

// Hint says what to do.
func (e *NoShellError) Hint() string {
	return "the login needs a shell that runs commands: look for a forced command in authorized_keys, and for exec in the shell's startup files"
}

// ConnectError says that a machine could not be reached in time.
type ConnectError struct {
	Addr    string
	Waited  time.Duration
	Tries   int
	Err     error  // the last one
	Console string // the end of what it wrote to its console
}

func (e *ConnectError) Error() string {
	text := fmt.Sprintf("connecting to %s: gave up after %v and %d tries: %v", e.Addr, e.Waited.Round(time.Second), e.Tries, e.Err)
	if e.Console != "" {
		text += "\nthe end of its console output:\n" + e.Console
	}
	return text
}

func (e *ConnectError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *ConnectError) Hint() string {
	if h, ok := e.Err.(interface{ Hint() string }); ok {
		return h.Hint()
	}
	return "check the address, that the machine is up, and that its firewall or security group lets this machine in"
}
