package ecs

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"bake/internal/sandbox/api"
)

// arn returns the name of an ECS resource: "cluster/prod".
func (p place) arn(resource string) string {
	return fmt.Sprintf("arn:aws:ecs:%s:%s:%s", p.Region, p.Account, resource)
}

// resourceOf returns what stands after the account in an ARN.
func resourceOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[5]
}

// lastPart returns an id that was given as such or at the end of an ARN.
func lastPart(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

// newID returns the 32 hexadecimal digits that tasks and containers are called by.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it cannot fail: crypto/rand
	return hex.EncodeToString(b[:])
}

// newNumber returns the nineteen digits that deployments and revisions are called by.
func newNumber() string {
	n, _ := rand.Int(rand.Reader, big.NewInt(8_999_999_999_999_999_999)) // it cannot fail: crypto/rand
	return strconv.FormatUint(n.Uint64()+1_000_000_000_000_000_000, 10)
}

// newShortID returns the id of a service deployment.
func newShortID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it cannot fail: crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])[:21]
}

// page returns the part of all that a List answers, and the token for the rest.
func page(all []string, limit *int32, token string) ([]string, string, error) {
	from, size := 0, 100
	if limit != nil {
		if *limit < 1 || *limit > 100 {
			return nil, "", api.Errorf("InvalidParameterException", "maxResults should be between 1 and 100.")
		}
		size = int(*limit)
	}
	if token != "" {
		data, err := base64.StdEncoding.DecodeString(token)
		last := string(data)
		if err != nil {
			return nil, "", api.Errorf("InvalidParameterException", "Invalid token.")
		}
		from = len(all)
		for i, name := range all {
			if name == last {
				from = i + 1
			}
		}
	}
	all = all[from:]
	if len(all) <= size {
		return append([]string{}, all...), "", nil
	}
	return append([]string{}, all[:size]...), base64.StdEncoding.EncodeToString([]byte(all[size-1])), nil
}
