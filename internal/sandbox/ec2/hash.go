package ec2

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// hash is of the parameters of a call, to tell whether a second one asks for the same.
func hash(in any) string {
	data, err := json.Marshal(in)
	if err != nil {
		panic(err) // requests are plain data
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
