// Package builder is bake's engine: it turns a template into a plan and runs
// the plan so that a kill at any moment loses nothing and leaks nothing.
//
// # From a template to an exit code
//
//  1. cmd/bake makes a [Catalog] of every kind of source, step and output
//     (wire.go, the only place that joins packages) and asks it for its
//     Language.
//  2. templates.Parse reads the file with that language; all that is wrong
//     with it comes back at once.
//  3. [Compile] turns the template into a [Plan]: builds in order, steps with
//     their phase, each output fit for what its build makes. Offline.
//  4. [Engine.Pin] looks up what names mean now (a tag becomes a digest),
//     hashes input files and gives every step its Key, the content address of
//     all that went in so far. It only reads.
//  5. [Engine.Run] asks [Plan.Next] which steps may start, runs each with
//     [Engine.Exec] in a goroutine of its own, and puts what they return into
//     the [History]. Next and [Plan.Input] are pure and the plan, the history
//     and the inputs are plain data, so that another driver (a workflow
//     engine) could take Run's place and use the same Exec.
//  6. Exec is where things happen: it makes the value that serves the step
//     from the catalog, resolves the expressions that a plan cannot hold
//     (secrets, outputs of earlier steps) and calls it.
//  7. Release deletes everything temporary that the journal knows of. It ends
//     every run, and it is all that `bake clean` does.
//
// # Why a crash is harmless
//
// What a step makes it makes through [Scope.Create]. The intent is durable in
// the [Journal] before the API is called, together with a token that the call
// carries as a client token or a label; the id is durable afterwards. So
// whatever happens in between, the next process finds the thing by its token
// and either uses it (resume) or deletes it (clean). A step's result and the
// list of what it keeps are one entry: there is no moment at which the product
// is both finished and temporary. What a release is about to delete counts as
// gone before it is, so that no resume builds on what is half deleted.
//
// The steps of a build fall into groups that live and die together (group.go):
// making the artifact, testing it, each output. When a machine is released
// before its group is closed, the results of that group do not hold any more
// ([Finished]), and what is made anew gets new tokens.
//
// Sources that can save a machine after each step ([Snapshotter]) make resume
// and the cache the same thing: a step whose key has a valid snapshot is not
// run. An interrupted step always starts again from the last snapshot.
//
// # Adding to bake
//
// A provisioner: see package provisioners. A source, a communicator or an
// output implements its interface in contract.go, gets a line in the lists of
// package steps, and passes the suites of builder/buildertest. A command is a
// file in cmd/bake and a line in app.go.
package builder
