package lastsleep

import "time"

func looks() (err error) {
	for i := 0; i < 3; i++ {
		if err = call(); err == nil || i == 2 {
			return err
		}
		time.Sleep(time.Second)
	}
	return err
}

func before() (err error) {
	for i := 0; i < 3; i++ {
		if i > 0 {
			time.Sleep(time.Second)
		}
		if err = call(); err == nil {
			return nil
		}
	}
	return err
}

// the items are not attempts
func items(all []func() error) (err error) {
	for _, item := range all {
		if err = item(); err == nil {
			return nil
		}
		time.Sleep(time.Second)
	}
	return err
}

// it looks again after the last sleep
func again() (err error) {
	for range 3 {
		if err = call(); err == nil {
			return nil
		}
		time.Sleep(time.Second)
	}
	if err := call(); err != nil {
		return err
	}
	return nil
}
