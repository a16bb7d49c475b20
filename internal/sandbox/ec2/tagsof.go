package ec2

import "bake/internal/sandbox/api"

// TagsOf returns the tags of an account's resource, by its id or a key pair's
// name; nil if there is none. Policies ask about them.
func (x *Control) TagsOf(account, region, id string) map[string]string {
	x.mu.Lock()
	defer x.mu.Unlock()
	o, err := x.begin(&api.Call{Account: account, Region: region}, x.world.Now())
	if err != nil {
		return nil
	}
	for r := range o.r.resources() {
		h := r.head()
		pair, isPair := r.(*keyPair)
		if h.Owner != account || h.ID != id && !(isPair && pair.Name == id) {
			continue
		}
		tags := map[string]string{}
		for _, t := range h.Tags {
			tags[t.Key] = t.Value
		}
		return tags
	}
	return nil
}
