// Package policystatus serves a live page that shows what pipelines do, and says in plain sentences why calls are
// refused: which policy, why, since when, until when, and what an operator can do.
//
//	page := policystatus.New(policystatus.Title("checkout"))
//	users := resilience.Compose(resilience.Name("users"), retry.New(), breaker.New(), resilience.Observe(page))
//	page.Add(users)
//	http.Handle("/debug/resilience/", page)
//
// The page is one [http.Handler]. It is rendered by the server, works without JavaScript, and is live with it; it loads
// nothing from anywhere else. The same data is there as JSON. It reads [policy.Report] on demand, and is told of
// refusals and of nothing else, so a call that is not refused pays next to nothing.
//
// By default the page only shows. [Control] lets operators act, if a function of the service says who they are.
//
// The page tells what a service calls and how that fares. Serve it where only operators get: on a port of its own, or
// behind the authentication that the service has.
package policystatus
