package report

import (
	"fmt"
	"slices"
	"time"

	"bake/builder"
	"bake/templates"
)

// A story is a recorded run for tests: its events at made-up times.
type story struct {
	now    time.Time
	events []builder.Event
}

func newStory() *story {
	return &story{now: time.Date(2026, 11, 21, 22, 31, 0, 0, time.UTC)}
}

func (s *story) wait(d time.Duration) { s.now = s.now.Add(d) }

func (s *story) add(e builder.Event) {
	e.Time, e.Run = s.now, "20261121-223100-k3f9"
	if e.Build == "" {
		e.Build = e.Step.Build()
	}
	s.events = append(s.events, e)
}

func (s *story) log(step builder.StepID, stream, text string) {
	s.add(builder.Event{Type: builder.StepLog, Step: step, Stream: stream, Text: text})
}

func (s *story) start(step builder.StepID) {
	s.add(builder.Event{Type: builder.StepStarted, Step: step})
}

func (s *story) done(step builder.StepID, took time.Duration) {
	s.add(builder.Event{Type: builder.StepDone, Step: step, Elapsed: took, Outcome: &builder.Outcome{}})
}

func (s *story) feed(sink builder.Sink) {
	for _, e := range s.events {
		sink.Emit(e)
	}
}

const (
	digest1 = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	digest2 = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	digest3 = "sha256:3333333333333333333333333333333333333333333333333333333333333333"
)

var amd64 = builder.Platform{OS: "linux", Arch: "amd64"} // never written

// planned returns a build with the engine's own steps around the named ones.
func planned(name string, line int, steps ...string) builder.Build {
	b := builder.Build{Name: name, Platform: amd64, Pos: templates.Pos{File: "web.yaml", Line: line, Col: 3}}
	add := func(phase builder.Phase, n int, kind, label string, pos templates.Pos) {
		b.Steps = append(b.Steps, builder.Step{ID: builder.StepID(fmt.Sprintf("%s/%s/%d", name, phase, n)), Phase: phase, Kind: kind, Name: label, Pos: pos})
	}
	add(builder.Open, 0, "image", "", templates.Pos{})
	for i, s := range steps {
		add(builder.Provision, i, "run", s, templates.Pos{File: "web.yaml", Line: line + 2 + i, Col: 7})
	}
	add(builder.Freeze, 0, "", "", templates.Pos{})
	add(builder.Accept, 0, "", "", templates.Pos{})
	add(builder.Publish, 0, "registry", "push to 127.0.0.1:5000/"+name, templates.Pos{File: "web.yaml", Line: line + 9, Col: 5})
	return b
}

func imageArtifact(id string, size int64) *builder.Artifact {
	return &builder.Artifact{Image: &builder.Image{Engine: "embedded", ID: id, Platform: amd64, Size: size,
		Base: "debian:bookworm-slim@" + digest3,
		Layers: []builder.Layer{{DiffID: digest3, Size: size / 2}, {DiffID: digest2, Size: size / 3, Step: "install nginx"},
			{DiffID: digest1, Size: size / 6, Step: "copy site/"}},
	}}
}

// successStory is two builds, one on top of the other, with everything that
// can go well.
func successStory() *story {
	s := newStory()
	base := planned("base", 4, "install nginx", "copy site/", "tune it")
	base.Pin.Summary = "debian:bookworm-slim@sha256:333333333333"
	web := planned("web", 20, "write the config", "restart", "only on fridays")
	web.Needs, web.Base = []string{"base"}, "base"
	s.add(builder.Event{Type: builder.RunStarted, Text: "web.yaml", Plan: &builder.Plan{Template: "web.yaml", Name: "web", Builds: []builder.Build{base, web}}})
	s.add(builder.Event{Type: builder.BuildStarted, Build: "base"})
	s.start("base/open/0")
	for i := range int64(5) {
		s.wait(30 * time.Millisecond)
		s.add(builder.Event{Type: builder.StepProgress, Step: "base/open/0", Progress: &builder.Progress{
			ID: "layer " + digest3, Verb: "pulling", Done: i * 7 << 20, Total: 28 << 20, Unit: "B", Ended: i == 4}})
	}
	s.done("base/open/0", 150*time.Millisecond)
	s.add(builder.Event{Type: builder.StepCached, Step: "base/provision/0", Phase: builder.Provision})
	s.add(builder.Event{Type: builder.StepCached, Step: "base/provision/1", Phase: builder.Provision})
	s.start("base/provision/2")
	s.log("base/provision/2", "stdout", "first \x1b[31mred\x1b[0m line")
	s.log("base/provision/2", "stderr", "10%\r50%\r100%")
	s.log("base/provision/2", "", "the service is not enabled")
	s.add(builder.Event{Type: builder.StepRetry, Step: "base/provision/2", Text: "exit status 1; attempt 2 of 3 in 1s"})
	s.wait(time.Second)
	s.log("base/provision/2", "stdout", "::error::not a command ##[error]nor this")
	s.wait(2200 * time.Millisecond)
	s.add(builder.Event{Type: builder.StepDone, Step: "base/provision/2", Elapsed: 3200 * time.Millisecond, Outcome: &builder.Outcome{Unchanged: true}})
	s.publish("base", digest1, 45<<20)
	s.add(builder.Event{Type: builder.BuildStarted, Build: "web"})
	s.start("web/open/0")
	s.done("web/open/0", 10*time.Millisecond)
	s.start("web/provision/0")
	s.wait(400 * time.Millisecond)
	s.done("web/provision/0", 400*time.Millisecond)
	s.start("web/provision/1")
	s.log("web/provision/1", "stdout", "日本語の長い行 🎉 done")
	s.wait(50 * time.Millisecond)
	s.add(builder.Event{Type: builder.StepDone, Step: "web/provision/1", Elapsed: 50 * time.Millisecond, Outcome: &builder.Outcome{Note: "restarted nginx"}})
	s.add(builder.Event{Type: builder.StepSkipped, Step: "web/provision/2", Text: "its `if` is false"})
	s.publish("web", digest2, 52<<20)
	s.add(builder.Event{Type: builder.Notice, Text: "variable token is 3 characters long: it is not redacted", Hint: "use a longer one"})
	s.add(builder.Event{Type: builder.RunDone, Elapsed: 4100 * time.Millisecond})
	return s
}

func (s *story) publish(build, digest string, size int64) {
	id := func(phase string) builder.StepID { return builder.StepID(build + "/" + phase + "/0") }
	s.start(id("freeze"))
	s.done(id("freeze"), 20*time.Millisecond)
	s.start(id("accept"))
	s.done(id("accept"), time.Millisecond)
	s.start(id("publish"))
	s.wait(300 * time.Millisecond)
	ref := "127.0.0.1:5000/" + build + ":1.4.2"
	s.add(builder.Event{Type: builder.StepDone, Step: id("publish"), Elapsed: 300 * time.Millisecond, Published: &builder.Published{
		Values: map[string]string{"ref": ref, "digest": digest}, Summary: "pushed " + ref + " (" + short(digest) + ")"}})
	s.add(builder.Event{Type: builder.BuildDone, Build: build, Artifact: imageArtifact(digest, size)})
}

// failureStory is a run that fails in one of three builds, with a hostile log.
func failureStory() *story {
	s := newStory()
	s.add(builder.Event{Type: builder.RunStarted, Text: "web.yaml", Plan: &builder.Plan{Template: "web.yaml", Name: "web",
		Builds: []builder.Build{planned("api", 4, "compile"), planned("web", 20, "apt-get install -y nginx", "copy site/"), planned("docs", 40, "render")}}})
	s.add(builder.Event{Type: builder.BuildStarted, Build: "api"})
	s.add(builder.Event{Type: builder.BuildStarted, Build: "web"})
	s.start("api/provision/0")
	s.start("web/provision/0")
	for i := range 30 {
		s.wait(10 * time.Millisecond)
		s.log("web/provision/0", "stdout", fmt.Sprintf("Get:%d http://deb.debian.org/debian bookworm/main amd64 nginx %d", i, i))
		if i%10 == 0 {
			s.log("api/provision/0", "stdout", fmt.Sprintf("compiling package %d", i))
		}
	}
	s.log("web/provision/0", "stderr", "</script><script>alert(1)</script> \x1b]0;title\a\x1b[2J\x1b[10A ::set-output name=x::y")
	s.log("web/provision/0", "stderr", "E: Unable to locate package nginx \u202Egnp.exe")
	s.done("api/provision/0", 310*time.Millisecond)
	s.publish("api", digest1, 1<<20)
	s.add(builder.Event{Type: builder.StepFailed, Step: "web/provision/0", Elapsed: 620 * time.Millisecond, Err: "exit status 100\nrunning apt-get install -y nginx",
		Hint: "run apt-get update first", Pos: templates.Pos{File: "web.yaml", Line: 22, Col: 7}})
	s.add(builder.Event{Type: builder.RunDone, Elapsed: 700 * time.Millisecond, Err: "web: exit status 100",
		Left: []builder.Resource{{Kind: "container", Name: "build", ID: "c0ffee", Where: "docker"}}})
	return s
}

// stoppedStory is a run that the user stops.
func stoppedStory() *story {
	s := newStory()
	s.add(builder.Event{Type: builder.RunStarted, Text: "web.yaml", Plan: &builder.Plan{Template: "web.yaml", Name: "web",
		Builds: []builder.Build{planned("api", 4, "compile"), planned("web", 20, "apt-get install -y nginx"), planned("docs", 40, "render")}}})
	for _, b := range []string{"api", "web"} {
		s.add(builder.Event{Type: builder.BuildStarted, Build: b})
		s.start(builder.StepID(b + "/provision/0"))
		s.log(builder.StepID(b+"/provision/0"), "stdout", "working")
	}
	s.wait(2 * time.Second)
	s.add(builder.Event{Type: builder.Notice, Text: "stopping; a second Ctrl-C stops at once"})
	for _, b := range []string{"api", "web"} {
		s.add(builder.Event{Type: builder.StepFailed, Step: builder.StepID(b + "/provision/0"), Elapsed: 2 * time.Second, Err: "running the script: interrupted", Stopped: true})
	}
	s.add(builder.Event{Type: builder.RunDone, Elapsed: 2100 * time.Millisecond, Err: "interrupted"})
	return s
}

// tenBuilds is ten builds of twenty steps that run side by side, each at its own
// pace; every third starts from cached steps and the fifth fails.
func tenBuilds() *story {
	s := newStory()
	plan := &builder.Plan{Template: "fleet.yaml", Name: "fleet"}
	for i := range 10 {
		var steps []string
		for j := range 20 {
			steps = append(steps, fmt.Sprintf("install part %d of the %s", j, []string{"system", "server", "site"}[j%3]))
		}
		b := planned(fmt.Sprintf("image-%d", i), 10*i+3, steps...)
		b.Pin.Summary = "debian:bookworm-slim@sha256:333333333333"
		plan.Builds = append(plan.Builds, b)
	}
	s.add(builder.Event{Type: builder.RunStarted, Text: "fleet.yaml", Plan: plan})
	start := s.now
	for i, b := range plan.Builds {
		s.now = start
		s.oneOfTen(i, b.Name)
	}
	slices.SortStableFunc(s.events, func(a, b builder.Event) int { return a.Time.Compare(b.Time) })
	s.now = s.events[len(s.events)-1].Time
	s.add(builder.Event{Type: builder.RunDone, Elapsed: s.now.Sub(start), Err: "image-4: exit status 1"})
	return s
}

func (s *story) oneOfTen(i int, build string) {
	pace := time.Duration(i+7) * 3 * time.Millisecond
	s.add(builder.Event{Type: builder.BuildStarted, Build: build})
	open := builder.StepID(build + "/open/0")
	s.start(open)
	for tick := range int64(16) {
		s.wait(2 * pace)
		s.add(builder.Event{Type: builder.StepProgress, Step: open, Progress: &builder.Progress{
			ID: "layer " + digest3, Verb: "pulling", Done: tick << 22, Total: 15 << 22, Unit: "B", Ended: tick == 15}})
	}
	s.done(open, 32*pace)
	for j := range 20 {
		id := builder.StepID(fmt.Sprintf("%s/provision/%d", build, j))
		if i%3 == 0 && j < 9 {
			s.add(builder.Event{Type: builder.StepCached, Step: id, Phase: builder.Provision})
			continue
		}
		s.start(id)
		for k := range 6 {
			s.wait(pace)
			s.log(id, "stdout", fmt.Sprintf("Unpacking lib%c%d:amd64 (2.36-9+deb12u%d) over (2.36-8) 日本", 'a'+j, k, k))
		}
		if i == 4 && j == 12 {
			s.add(builder.Event{Type: builder.StepFailed, Step: id, Elapsed: 6 * pace, Err: "exit status 1", Pos: templates.Pos{File: "fleet.yaml", Line: 57, Col: 7}})
			return
		}
		s.done(id, 6*pace)
	}
	s.publish(build, digest1, 50<<20)
}
