package applet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// scp is the far side of scp: what clients start over SSH, with -t to take
// files and -f to give them. It copies nothing between machines by itself.
func scp(_ context.Context, c *Call) error {
	s := &scpSide{c: c, in: bufio.NewReader(c.Stdin)}
	sink, source := false, false
	args := c.Args
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "-" {
		flags := args[0]
		args = args[1:]
		if flags == "--" {
			break
		}
		sink = sink || strings.Contains(flags, "t")
		source = source || strings.Contains(flags, "f")
		s.recursive = s.recursive || strings.Contains(flags, "r")
		s.directory = s.directory || strings.Contains(flags, "d")
	}
	if sink == source || len(args) == 0 {
		return usagef("only what clients start is here: scp -t FOLDER or scp -f FILE")
	}
	if sink {
		return s.sink(args[0])
	}
	return s.source(args)
}

// A scpSide is one end of the protocol.
type scpSide struct {
	c                    *Call
	in                   *bufio.Reader
	recursive, directory bool
}

// ok answers that all is well.
func (s *scpSide) ok() error {
	_, err := s.c.Stdout.Write([]byte{0})
	return err
}

// refuse tells the other side what is wrong; it goes on with the next file.
func (s *scpSide) refuse(err error) error {
	s.c.failed = true
	_, werr := fmt.Fprintf(s.c.Stdout, "\x01scp: %s\n", message(err))
	return werr
}

// answer reads what the other side says to the last message.
func (s *scpSide) answer() error {
	b, err := s.in.ReadByte()
	if err != nil || b == 0 {
		return err
	}
	line, _ := s.in.ReadString('\n')
	if b == 1 {
		s.c.Warn(errors.New(strings.TrimSpace(line)))
		return nil
	}
	return errors.New(strings.TrimSpace(line))
}

// sink takes files into the target: a folder, or the name of the one file.
func (s *scpSide) sink(target string) error {
	dirs := []string{s.c.Path(target)}
	if info, err := os.Stat(dirs[0]); s.directory && (err != nil || !info.IsDir()) {
		return errors.Join(s.refuse(fmt.Errorf("%s: not a directory", target)), &Exit{1})
	}
	if err := s.ok(); err != nil {
		return err
	}
	for {
		line, err := s.in.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		line = strings.TrimSuffix(line, "\n")
		to := dirs[len(dirs)-1]
		switch {
		case line == "E" && len(dirs) > 1:
			dirs = dirs[:len(dirs)-1]
		case strings.HasPrefix(line, "T"): // times are not kept
		case strings.HasPrefix(line, "C"), strings.HasPrefix(line, "D"):
			if to, err = s.take(line, to, len(dirs) > 1); err != nil {
				if err := s.refuse(err); err != nil {
					return err
				}
				continue
			}
			if line[0] == 'D' {
				dirs = append(dirs, to)
			}
		case strings.HasPrefix(line, "\x01"), strings.HasPrefix(line, "\x02"):
			s.c.Warn(errors.New(line[1:]))
			continue
		default:
			return fmt.Errorf("message %q is none of scp's", line)
		}
		if err := s.ok(); err != nil {
			return err
		}
	}
}

// take makes the file or folder that a message announces, and returns its path.
func (s *scpSide) take(line, to string, inside bool) (string, error) {
	words := strings.SplitN(line[1:], " ", 3)
	if len(words) != 3 || words[2] == "" || words[2] == ".." || strings.Contains(words[2], "/") {
		return "", fmt.Errorf("message %q is none of scp's", line)
	}
	mode, err := strconv.ParseUint(words[0], 8, 12)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(to); inside || err == nil && info.IsDir() {
		to = filepath.Join(to, words[2])
	}
	if line[0] == 'D' {
		if err := os.Mkdir(to, fs.FileMode(mode)|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		return to, nil
	}
	size, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fs.FileMode(mode))
	if err != nil {
		return "", err
	}
	if err := s.ok(); err != nil {
		return "", errors.Join(err, f.Close())
	}
	_, err = io.CopyN(f, s.in, size)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = s.answer()
	}
	return to, err
}

// source gives the files.
func (s *scpSide) source(names []string) error {
	if err := s.answer(); err != nil {
		return err
	}
	for _, name := range names {
		if err := s.give(s.c.Path(name)); err != nil {
			return err
		}
	}
	return nil
}

// give gives one file, or a folder with what is in it.
func (s *scpSide) give(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() && !s.recursive {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err != nil {
		return s.refuse(err)
	}
	if info.IsDir() {
		return s.giveFolder(path, info)
	}
	f, err := os.Open(path)
	if err != nil {
		return s.refuse(err)
	}
	defer f.Close()
	if err := s.c.printf("C%04o %d %s\n", info.Mode().Perm(), info.Size(), info.Name()); err != nil {
		return err
	}
	if err := s.answer(); err != nil {
		return err
	}
	if _, err := io.CopyN(s.c.Stdout, f, info.Size()); err != nil {
		return err
	}
	if err := s.ok(); err != nil {
		return err
	}
	return s.answer()
}

func (s *scpSide) giveFolder(path string, info fs.FileInfo) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return s.refuse(err)
	}
	if err := s.c.printf("D%04o 0 %s\n", info.Mode().Perm(), info.Name()); err != nil {
		return err
	}
	if err := s.answer(); err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.give(filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	if err := s.c.printf("E\n"); err != nil {
		return err
	}
	return s.answer()
}
