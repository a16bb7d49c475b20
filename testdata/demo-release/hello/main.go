// Command hello is the service of the release demo: it greets over HTTP, or
// crashes where it was built to. With "get URL" it is the client.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Println("hello:", err)
		os.Exit(3)
	}
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "get" {
		return get(args[1])
	}
	version := os.Getenv("VERSION")
	log.SetFlags(0)
	log.Println("hello", version, "begins")
	for _, line := range []string{"reading the configuration", "opening the database", "migrating to schema 12"} {
		log.Println(line)
	}
	if os.Getenv("BROKEN") != "" {
		return fmt.Errorf("no such table: users")
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "hello from version %s\n", version) })
	log.Println("listening on port 8080")
	return http.ListenAndServe(":8080", nil)
}

// get prints what a server answers, which may take a moment to come up.
func get(url string) error {
	for n := 0; ; n++ {
		resp, err := http.Get(url)
		if err == nil {
			defer resp.Body.Close()
			_, err = io.Copy(os.Stdout, resp.Body)
		}
		if err == nil || n == 20 {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
