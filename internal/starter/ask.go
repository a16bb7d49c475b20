package starter

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Prompter asks on one terminal, line by line: plain text that also works
// through a pipe.
type Prompter struct {
	in  *bufio.Reader
	out io.Writer
}

// NewPrompter reads answers from in and writes questions to out.
func NewPrompter(in io.Reader, out io.Writer) *Prompter {
	return &Prompter{bufio.NewReader(in), out}
}

// line asks one question. An empty answer, and the end of the input, is the default.
func (p *Prompter) line(ctx context.Context, question, def string) (answer string, ended bool, err error) {
	if err := ctx.Err(); err != nil {
		return "", false, err
	}
	if _, err := fmt.Fprintf(p.out, "%s [%s] ", question, def); err != nil {
		return "", false, err
	}
	text, err := p.in.ReadString('\n')
	ended = err == io.EOF
	if ended {
		fmt.Fprintln(p.out)
		err = nil
	}
	if text = strings.TrimSpace(text); text == "" {
		text = def
	}
	return text, ended, err
}

// Choose asks which starter it shall be, by number or name; the first is the default.
func (p *Prompter) Choose(ctx context.Context, list []Starter) (Starter, error) {
	if len(list) == 0 {
		return Starter{}, &UnknownError{What: "starter"}
	}
	for i, s := range list {
		if _, err := fmt.Fprintf(p.out, "%3d  %-15s %s\n", i+1, s.Name, s.Title); err != nil {
			return Starter{}, err
		}
	}
	for {
		answer, ended, err := p.line(ctx, "What do you want to bake?", list[0].Name)
		if err != nil {
			return Starter{}, err
		}
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(list) {
			return list[n-1], nil
		}
		for _, s := range list {
			if s.Name == answer {
				return s, nil
			}
		}
		if ended {
			_, err := Find(answer)
			return Starter{}, err
		}
		if _, err := fmt.Fprintf(p.out, "There is no %q: give a number from 1 to %d or a name.\n", answer, len(list)); err != nil {
			return Starter{}, err
		}
	}
}

// Ask asks the starter's questions but those that given answers already, and
// returns all answers.
func (p *Prompter) Ask(ctx context.Context, s Starter, given map[string]string) (map[string]string, error) {
	answers := map[string]string{}
	for key, value := range given {
		answers[key] = value
	}
	for _, q := range s.Questions {
		if _, ok := answers[q.Key]; ok {
			continue
		}
		answer, _, err := p.line(ctx, q.Text, q.Default)
		if err != nil {
			return nil, err
		}
		answers[q.Key] = answer
	}
	return answers, nil
}
