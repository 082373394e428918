package lastsleep

import "time"

func call() error { return nil }

func fromZero() (err error) {
	for i := 0; i < 3; i++ {
		if err = call(); err == nil {
			return nil
		}
		time.Sleep(time.Second << i) // want "RL3: this retry loop sleeps after its last attempt too"
	}
	return err
}

func fromOne(most int) (err error) {
	for try := 1; try <= most; try++ {
		err = call()
		if err != nil {
			time.Sleep(time.Second) // want "RL3: this retry loop sleeps after its last attempt too"
			continue
		}
		break
	}
	return err
}

func ranges() (err error) {
	const most = 4
	for i := range most {
		if err = call(); err == nil {
			return nil
		}
		time.Sleep(time.Second * time.Duration(i)) // want "RL3: this retry loop sleeps"
	}
	return err
}

func withoutCounter() (err error) {
	for range 3 {
		if err = call(); err == nil {
			return nil
		}
		time.Sleep(time.Second) // want "RL3: this retry loop sleeps"
	}
	return err
}

// the counter is looked at after the loop: no fix
func counterOutside() bool {
	i := 0
	for i = 0; i < 3; i++ {
		if call() == nil {
			break
		}
		if err := call(); err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL3: this retry loop sleeps"
	}
	return i < 3
}

// what follows the sleep is not left out
func keepsTheLastError() (last error) {
	for i := 0; i < 3; i++ {
		err := call()
		if err == nil {
			return nil
		}
		time.Sleep(time.Second) /* a while */ // want "RL3: this retry loop sleeps after its last attempt too"
		last = err
	}
	return last
}

func countsDown() (err error) {
	for left := 3; left > 0; left-- {
		if err = call(); err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL3: this retry loop sleeps after its last attempt too"
	}
	return err
}

// its bound is hidden: there is no fix
func shadows(tries int) (err error) {
	for i := 0; i < tries; i++ {
		if err = call(); err == nil {
			break
		}
		tries := i
		println(tries)
		time.Sleep(time.Second) // want "RL3: this retry loop sleeps after its last attempt too"
	}
	return err
}

// its bound is a call, which is not made once more: there is no fix
func asksForTheBound(limit func() int) (err error) {
	for i := 0; i < limit(); i++ {
		if err = call(); err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL3: this retry loop sleeps after its last attempt too"
	}
	return err
}

func asksForALength(backends []string) (err error) {
	for i := 0; i < 2*len(backends); i++ {
		if err = call(); err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL3: this retry loop sleeps after its last attempt too"
	}
	return err
}
