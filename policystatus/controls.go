package policystatus

import "net/http"

type controls struct{ page *Page }

func newControls(p *Page) *controls                             { return &controls{p} }
func (c *controls) close()                                      {}
func (c *controls) mark(p []*pipeline)                          {}
func (c *controls) post(w http.ResponseWriter, r *http.Request) {}
func (c *controls) get(w http.ResponseWriter, r *http.Request)  {}

type Act struct{ Number uint64 }
type forced struct{ Text string }
type form struct{}

func (l *layer) explainForced(*explanation) {}
