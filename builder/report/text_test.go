package report

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestCleanLeavesTextAndNoControl(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                          "plain",
		"\x1b[31mred\x1b[0m":             "red",
		"\x1b]0;title\x07text":           "text",
		"\x1b]8;;http://x\x1b\\link":     "link",
		"a\tb":                           "a       b",
		"10%\r100%":                      "100%",
		"10%\r100%\r":                    "100%",
		"windows line\r\n":               "windows line",
		"\x9b2Jx":                        "\uFFFD2Jx",
		"c1 \u009b2J":                    "c1 2J",
		"rtl \u202Egnp.exe":              "rtl gnp.exe",
		"bell\a back\b":                  "bell back",
		"日本語 🎉 e\u0301":                  "日本語 🎉 e\u0301",
		"half \xff rune":                 "half \uFFFD rune",
		"line\u2028separator":            "line separator",
		"tags \U000E0041\U000E007F hide": "tags  hide",
		"\x1b[2J\x1b[10A\x1b[?1049hstay": "stay",
		"\x1bP1$tdcs\x1b\\after":         "after",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func FuzzCleanLeavesNoControl(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\r\n\t\u202e")
	f.Add("\x1b]0;never ended")
	f.Add("\x1b\x1b[\x1b")
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if !utf8.ValidString(got) {
			t.Fatalf("%q became %q", s, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%q became %q", s, got)
			}
		}
		if h := harmless(s); strings.Contains(h, "##[") || strings.HasPrefix(strings.TrimSpace(h), "::") {
			t.Fatalf("%q is not harmless: %q", s, h)
		}
	})
}

func TestTimesAndSizesReadWell(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0.00s", 40 * time.Millisecond: "0.04s", 3200 * time.Millisecond: "3.2s",
		42 * time.Second: "42s", 125 * time.Second: "2m05s", 62 * time.Minute: "1h02m",
	} {
		if got := duration(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 45<<20 + 200<<10: "45.2 MiB", 1<<30 - 1: "1.0 GiB", 3 << 40: "3.0 TiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestTimelinesHaveAFewRoundTicks(t *testing.T) {
	for _, d := range []time.Duration{3 * time.Millisecond, 40 * time.Millisecond, 700 * time.Millisecond, 7100 * time.Millisecond, 59 * time.Second, 5 * time.Minute, 50 * time.Minute, 7 * time.Hour, 30 * time.Hour, 1000 * time.Hour} {
		s := span{time.Unix(0, 0), time.Unix(0, 0).Add(d)}
		ticks := s.ticks()
		if len(ticks) < 3 || len(ticks) > 9 {
			t.Errorf("%s has %d ticks: %v", d, len(ticks), ticks)
		}
	}
}
