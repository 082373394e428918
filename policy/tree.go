package policy

// firstAnswer asks the errors in err's tree, outermost first, and returns the first answer; false if none of them has one.
func firstAnswer[A any](err error, ask func(error) (answer A, ok bool)) (answer A, ok bool) {
	for err != nil {
		if answer, ok = ask(err); ok {
			return answer, true
		}
		switch wrapped := err.(type) {
		case interface{ Unwrap() error }:
			err = wrapped.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range wrapped.Unwrap() {
				if answer, ok = firstAnswer(err, ask); ok {
					return answer, true
				}
			}
			return *new(A), false
		default:
			return *new(A), false
		}
	}
	return *new(A), false
}
