// Command bench measures bake beside its peers, as they are installed on this
// machine, and prints a table; -json writes everything it saw. It is not a test:
// no time decides anything. Run it with `make bench`.
//
// Each case says what is measured and in which state it starts; what has to be
// set up or torn down between two runs is not in the time. A tool that is
// missing is left out by name, one that fails is listed with its last line.
// Only ratios of one run carry over to another machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

// settings are the flags.
type settings struct {
	bake string
	json string
	dir  string
	runs int
	size int64   // bytes of the image that is pushed
	pace float64 // of the sandbox's states
	only *regexp.Regexp
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := error(nil)
	if len(os.Args) > 1 && os.Args[1] == floorWord {
		err = runFloor(os.Args[2:])
	} else {
		err = run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func parseFlags() (settings, error) {
	var s settings
	quick := flag.Bool("quick", false, "few runs, and a small image to push")
	only := flag.String("only", "", "run the cases whose section/case/tool `REGEXP` finds")
	size := flag.Int64("size", 1<<30, "bytes of the image that is pushed")
	flag.StringVar(&s.bake, "bake", "bin/bake", "the bake to measure")
	flag.StringVar(&s.json, "json", "", "write the results to this `FILE`")
	flag.StringVar(&s.dir, "dir", "dist/bench", "work below this directory; base images stay there")
	flag.Float64Var(&s.pace, "pace", 0.05, "what the sandbox's states take, as a part of AWS's time; 1: minutes for each AMI")
	flag.IntVar(&s.runs, "runs", 7, "runs of each case; the median counts")
	flag.Parse()
	s.size = *size
	if *quick {
		s.runs, s.size = min(s.runs, 3), min(s.size, 64<<20)
	}
	var err error
	if s.only, err = regexp.Compile(*only); err != nil {
		return s, err
	}
	for _, path := range []*string{&s.bake, &s.dir} {
		if *path, err = filepath.Abs(*path); err != nil {
			return s, err
		}
	}
	if s.runs < 1 {
		return s, fmt.Errorf("-runs %d: want at least 1", s.runs)
	}
	_, err = os.Stat(s.bake)
	return s, err
}

func run(ctx context.Context) (err error) {
	s, err := parseFlags()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(s.dir, "run-")
	if err != nil {
		return err
	}
	l := &lab{settings: s, work: work, tools: findTools(s.bake)}
	defer func() {
		if closeErr := l.close(); err == nil {
			err = closeErr
		}
	}()
	report := &report{Machine: machine(), Tools: l.tools.versions(ctx), Runs: s.runs}
	report.head(os.Stdout)
	for _, section := range []func(*lab) []benchmark{startCases, sshCases, buildCases, parallelCases, pushCases, ecrCases, amazonCases} {
		for _, c := range section(l) {
			if err := l.measure(ctx, c, report); err != nil {
				return err
			}
		}
	}
	report.finish(os.Stdout)
	if s.json == "" {
		return nil
	}
	return report.write(s.json)
}
