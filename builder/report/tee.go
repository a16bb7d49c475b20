package report

import (
	"errors"

	"bake/builder"
)

// A Sink shows or keeps the events of one run.
type Sink interface {
	builder.Sink
	// Close shows or writes what is left and gives back the terminal. It
	// returns what went wrong since the sink was made. Emit after Close does nothing.
	Close() error
}

// Tee returns a sink that hands every event to all sinks, in order, and closes them all.
func Tee(sinks ...Sink) Sink { return tee(sinks) }

type tee []Sink

func (t tee) Emit(e builder.Event) {
	for _, s := range t {
		s.Emit(e)
	}
}

func (t tee) Close() error {
	var errs []error
	for _, s := range t {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// Pause takes what s draws off the terminal, so that something else can be
// written or asked there, until resume is called. Events go on being taken.
func Pause(s Sink) (resume func()) {
	switch s := s.(type) {
	case tee:
		resumes := make([]func(), len(s))
		for i, one := range s {
			resumes[i] = Pause(one)
		}
		return func() {
			for _, r := range resumes {
				r()
			}
		}
	case *redacting:
		return Pause(s.Sink)
	case *live:
		return s.Pause()
	}
	return func() {}
}
