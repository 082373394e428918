// Package policystatus serves a live page that shows what pipelines do, and says in plain sentences why calls are
// refused: which policy, why, since when, until when, and what an operator can do.
//
//	page := policystatus.New(policystatus.Title("checkout"))
//	users := resilience.Compose(resilience.Name("users"), retry.New(), breaker.New(), resilience.Observe(page))
//	page.Add(users)
//	http.Handle("/debug/resilience/", page)
//
// The page is one [http.Handler]. The server renders it. It works without JavaScript, updates live with it, and loads
// nothing from anywhere else. The same data is available as JSON. The page reads [policy.Report] on demand and observes
// refusals only, so a call that is not refused pays next to nothing.
//
// By default the page is read-only. [Control] lets operators act, if a function of yours says who they are.
//
// The page reveals what a service calls and how those calls fare. Serve it where only operators can reach it: on its
// own port, or behind the service's authentication.
package policystatus
