// Package ecs deploys container images as services of Amazon ECS and knows how
// that went: the output kind `ecs`, and the library behind `bake ecs`.
//
// A deployment goes: what is wanted (Output, a task definition from a file or
// the service's own with changes) -> preflight (verify.go) -> one-off tasks
// (task.go) -> a revision, unless an identical one exists (register.go) -> the
// service created or updated where it differs (service.go) -> followed by its
// deployment id until it has succeeded, failed or gone back (follow.go decides,
// watch.go asks) -> more one-off tasks -> the revision recorded as good.
//
// Decisions are functions of data: normal.go makes task definitions
// comparable, difference.go compares them, reason.go says what a stopped task
// means, follow.go what an answer of DescribeServices means.
package ecs
