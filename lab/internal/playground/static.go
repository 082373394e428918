package playground

// static is what the page shows without JavaScript.
func static() string { return "" }
