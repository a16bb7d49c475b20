package ec2

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
)

// handler answers what AWS does not have:
//
//	GET  /_sandbox/ec2/knobs   the Knobs
//	POST /_sandbox/ec2/knobs   sets those that are given
//	POST /_sandbox/ec2/images  adds a Base to every region
func (x *Control) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /knobs", func(w http.ResponseWriter, _ *http.Request) { x.answerKnobs(w) })
	m.HandleFunc("POST /knobs", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			x.Tune(func(k *Knobs) {
				changed := *k
				if err = strict(bytes.NewReader(data)).Decode(&changed); err == nil {
					*k = changed
				}
			})
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		x.answerKnobs(w)
	})
	m.HandleFunc("POST /images", func(w http.ResponseWriter, r *http.Request) {
		var b Base
		err := strict(r.Body).Decode(&b)
		if err == nil {
			err = x.AddBase(r.Context(), b)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	return m
}

func (x *Control) answerKnobs(w http.ResponseWriter) {
	var k Knobs
	x.Tune(func(all *Knobs) { k = *all })
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(k) // the client is gone if this fails
}

// strict reads a body of JSON without words that nobody knows.
func strict(r io.Reader) *json.Decoder {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	return d
}
