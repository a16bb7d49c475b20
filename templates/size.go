package templates

// ParseSize reads a number of bytes as templates write it: "20GiB", "512MiB",
// "10MB" or a plain number.
func ParseSize(text string) (Size, error) {
	n, err := parseSize(text)
	return Size(n), err
}
