package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"bake/builder"
)

// An Error is a registry's refusal or silence, with what was asked of it.
type Error struct {
	Doing string // "pulling debian:12"
	Host  string
	Err   error
}

func (e *Error) Error() string { return e.Doing + ": " + describe(e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Is makes an answer of 404 the same as builder.ErrNotFound.
func (e *Error) Is(target error) bool {
	return target == builder.ErrNotFound && StatusOf(e.Err) == http.StatusNotFound
}

// Hint says what the user can do about it.
func (e *Error) Hint() string {
	var hinted interface{ Hint() string }
	if errors.As(e.Err, &hinted) {
		return hinted.Hint()
	}
	if errors.Is(e.Err, http.ErrSchemeMismatch) {
		return (&PlainHTTPError{}).Hint()
	}
	switch status := StatusOf(e.Err); {
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && strings.Contains(e.Host, ".dkr.ecr."):
		return "the AWS credentials may not read it: their policy, or the repository's, has to allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer"
	case status == http.StatusTooManyRequests && e.Host == name.DefaultRegistry:
		return "Docker Hub limits pulls: log in with `docker login`, or take images through a cache: `pull_through: ecr` or `mirrors:`"
	}
	switch StatusOf(e.Err) {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "log in with `docker login " + e.Host + "` (or podman, skopeo): bake reads their credentials; Docker Hub says the same of names that do not exist"
	case http.StatusTooManyRequests:
		return "the registry limits how often it may be asked: log in, or name a mirror with `mirrors:`"
	}
	return ""
}

// describe says an error in the registry's own words, without the request.
func describe(err error) string {
	var te *transport.Error
	if !errors.As(err, &te) || len(te.Errors) == 0 {
		return err.Error()
	}
	words := make([]string, len(te.Errors))
	for i, d := range te.Errors {
		words[i] = strings.ToLower(strings.ReplaceAll(string(d.Code), "_", " "))
		if d.Message != "" && !strings.EqualFold(d.Message, words[i]) {
			words[i] += ": " + d.Message
		}
	}
	return fmt.Sprintf("%s (HTTP %d)", strings.Join(words, "; "), te.StatusCode)
}

// StatusOf returns the HTTP status a registry answered with, or 0.
func StatusOf(err error) int {
	var te *transport.Error
	if errors.As(err, &te) {
		return te.StatusCode
	}
	return 0
}

// A PlainHTTPError is a request that would have gone unencrypted to another machine.
type PlainHTTPError struct{ Host string }

func (e *PlainHTTPError) Error() string {
	return "refusing to speak plain HTTP to " + e.Host
}

// Hint says how to allow it.
func (e *PlainHTTPError) Hint() string {
	return "if you trust the network, say `insecure: true`; registries on this machine need no leave"
}

// A PlatformError is an image that does not exist for the wanted platform.
type PlatformError struct {
	Image string
	Want  builder.Platform
	Have  []builder.Platform
}

func (e *PlatformError) Error() string {
	have := make([]string, len(e.Have))
	for i, p := range e.Have {
		have[i] = p.String()
	}
	return fmt.Sprintf("%s is not made for %s, only for %s", e.Image, e.Want, strings.Join(have, ", "))
}

// Hint says what to choose from.
func (e *PlatformError) Hint() string {
	if len(e.Have) == 0 {
		return ""
	}
	return fmt.Sprintf("say `platforms: [%s]`, or take another base image", e.Have[0])
}

// A TagExistsError is a tag that must not move and names something else already.
type TagExistsError struct {
	Ref       string
	Have      string // digest it names
	Immutable bool   // the registry said so itself
}

func (e *TagExistsError) Error() string {
	if e.Have == "" {
		return e.Ref + " exists already and cannot be changed"
	}
	return fmt.Sprintf("%s exists already with other content (%s) and cannot be changed", e.Ref, e.Have)
}

// Hint says how to get out of it.
func (e *TagExistsError) Hint() string {
	return "choose another tag, for instance one with ${{ git.sha }} in it"
}

// A LayerTooBigError is a layer that the registry would not take.
type LayerTooBigError struct {
	Layer     string
	Size, Max int64 // bytes
}

func (e *LayerTooBigError) Error() string {
	return fmt.Sprintf("layer %s has %d MiB, and the registry takes %d MiB in a layer", e.Layer, e.Size>>20, e.Max>>20)
}

// Hint says how to get out of it.
func (e *LayerTooBigError) Hint() string {
	return "let several steps make what one makes now: each step is a layer of its own"
}
