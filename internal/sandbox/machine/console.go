package machine

import "sync"

// consoleSize is what AWS keeps of an instance's console, in bytes.
const consoleSize = 64 << 10

// A console keeps the end of what is written to it.
type console struct {
	mu   sync.Mutex
	data []byte
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = append(c.data, p...)
	if over := len(c.data) - consoleSize; over > consoleSize { // seldom, since it copies
		c.data = append([]byte(nil), c.data[over:]...)
	}
	return len(p), nil
}

// tail is what was written last, up to consoleSize.
func (c *console) tail() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]byte(nil), c.data[max(0, len(c.data)-consoleSize):]...)
}
