package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// control answers below /_sandbox/, which AWS does not have:
//
//	GET    /_sandbox/faults   the faults that are set
//	POST   /_sandbox/faults   sets one, or a list of them
//	DELETE /_sandbox/faults   ends all
//	GET    /_sandbox/calls    {"counts": {"ec2:RunInstances": 1}, "calls": [...]}
//	DELETE /_sandbox/calls    forgets them
//	GET    /_sandbox/state    what every service keeps
//	       /_sandbox/NAME/... the knobs of a service
func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	word, rest, below := strings.Cut(strings.TrimPrefix(r.URL.Path, "/_sandbox/"), "/")
	if below {
		for _, v := range s.services {
			if v.Name == word && v.Control != nil {
				r.URL.Path = "/" + rest
				v.Control.ServeHTTP(w, r)
				return
			}
		}
	}
	switch r.Method + " " + word {
	case "GET faults":
		answerJSON(w, s.Faults.List())
	case "POST faults":
		s.addFaults(w, r)
	case "DELETE faults":
		s.Faults.Clear()
		answerJSON(w, []Fault{})
	case "GET calls":
		answerJSON(w, map[string]any{"counts": s.Faults.Counts(), "calls": s.Faults.Calls()})
	case "DELETE calls":
		s.Faults.Forget()
		answerJSON(w, struct{}{})
	case "GET state":
		s.answerState(w)
	default:
		http.Error(w, fmt.Sprintf("%s %s is not known to the sandbox", r.Method, r.URL.Path), http.StatusNotFound)
	}
}

func (s *Server) addFaults(w http.ResponseWriter, r *http.Request) {
	_, body, err := readBody(w, r)
	var faults []Fault
	if err == nil {
		if body = bytes.TrimSpace(body); bytes.HasPrefix(body, []byte("{")) {
			body = append(append([]byte("["), body...), ']')
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		err = d.Decode(&faults)
	}
	if err == nil {
		err = s.Faults.Add(faults...)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answerJSON(w, s.Faults.List())
}

func (s *Server) answerState(w http.ResponseWriter) {
	if s.State == nil {
		answerJSON(w, struct{}{})
		return
	}
	state, err := s.State()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answerJSON(w, state)
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client is gone if this fails
}
