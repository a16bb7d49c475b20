// Package builder is bake's engine: it turns a template into a plan and runs
// the plan so that a kill at any moment loses nothing and leaks nothing.
package builder
