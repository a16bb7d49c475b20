package amazon

import (
	"context"
	"time"
)

// grantLag is how long a deletion may be denied that a policy allows: one that
// allows it of what bears a tag, or was made by the caller, allows it only when
// AWS knows of the tag where it decides.
const grantLag = 8 * time.Second

// OnceGranted repeats a call that AWS denies for a few seconds, and returns its
// error if it goes on being denied. It is for removing what was made not long
// ago and would be left behind else.
func OnceGranted(ctx context.Context, call func() error) error {
	began, wait := time.Now(), 500*time.Millisecond
	for {
		err := call()
		if !isDenied(err) || time.Since(began)+wait > grantLag {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		wait *= 2
	}
}
