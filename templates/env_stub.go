package templates

func (e *Env) WithSource(v map[string]string) *Env                { return e }
func (e *Env) WithOutputs(v map[string]map[string]string) *Env    { return e }
func (e *Env) ResolveString(s string, final bool) (string, error) { return s, nil }
func (e *Env) Truth(expr string) (bool, error)                    { return true, nil }
func (e *Env) Secrets() []string                                  { return nil }
