package retryloop

import (
	"errors"
	"math/rand/v2"
	"net"
	"time"
)

func dial() (net.Conn, error) { return net.Dial("tcp", "backend:80") }

func forEver() net.Conn {
	for { // want "RL2: this loop retries without a bound, backoff or jitter: while the dependency is down every caller stays here and keeps sending and clients that failed together come back together"
		conn, err := dial()
		if err == nil {
			return conn
		}
		time.Sleep(time.Second)
	}
}

func constant() (net.Conn, error) {
	for i := 0; i < 10; i++ { // want "RL2: this loop retries without backoff or jitter: a sick dependency gets all retries at full rate and clients that failed together come back together"
		if conn, err := dial(); err == nil {
			return conn, nil
		}
		<-time.After(200 * time.Millisecond)
	}
	return nil, errors.New("gave up")
}

func grows() (conn net.Conn, err error) {
	delay := 10 * time.Millisecond
	for i := 0; i < 10; i++ { // want "RL2: this loop retries without jitter: clients that failed together come back together"
		if conn, err = dial(); err == nil {
			return conn, nil
		}
		time.Sleep(delay)
		delay *= 2
	}
	return nil, err
}

func growsByTheCounter() (conn net.Conn, err error) {
	for i := 0; i < 10; i++ { // want "RL2: this loop retries without jitter"
		if conn, err = dial(); err != nil {
			time.Sleep(time.Duration(i*i) * time.Second)
			continue
		}
		break
	}
	return conn, err
}

func jitteredForEver() net.Conn {
	for { // want "RL2: this loop retries without a bound: while the dependency is down every caller stays here"
		if conn, err := dial(); err == nil {
			return conn
		}
		time.Sleep(time.Duration(rand.Int64N(int64(10 * time.Second))))
	}
}

func helper() (conn net.Conn, err error) {
	for i := range 3 { // want "RL2: this loop retries without jitter"
		if conn, err = dial(); err == nil {
			break
		}
		sleepFor(time.Duration(i) * time.Second)
	}
	return conn, err
}

func sleepFor(d time.Duration) { time.Sleep(d) }

func isBusy(err error) bool { return errors.Is(err, net.ErrClosed) }

// asks what the error is, instead of whether there is one
func whileBusy() error {
	for { // want "RL2: this loop retries without a bound, backoff or jitter"
		_, err := dial()
		if !isBusy(err) {
			return err
		}
		time.Sleep(time.Second)
	}
}

func onlyOneError() (conn net.Conn, err error) {
	for i := 0; i < 3; i++ { // want "RL2: this loop retries without backoff or jitter"
		if conn, err = dial(); errors.Is(err, net.ErrClosed) {
			time.Sleep(time.Second)
			continue
		}
		break
	}
	return conn, err
}

func isEqual() (conn net.Conn, err error) {
	for i := 0; i < 3; i++ { // want "RL2: this loop retries without backoff or jitter"
		conn, err = dial()
		if err != net.ErrClosed {
			break
		}
		time.Sleep(time.Second)
	}
	return conn, err
}

// an error that is refused for good is no bound
func permanent() (net.Conn, error) {
	for { // want "RL2: this loop retries without a bound, backoff or jitter"
		conn, err := dial()
		if err == nil {
			return conn, nil
		}
		if isBusy(err) {
			return nil, err
		}
		time.Sleep(time.Second)
	}
}

// what is given up goes on as a success does
func goesOn() (conn net.Conn) {
	for tries := 0; ; { // want "RL2: this loop retries without backoff or jitter"
		var err error
		conn, err = dial()
		if err != nil {
			if tries < 3 {
				tries++
				time.Sleep(time.Second)
				continue
			}
			println("giving up")
		}
		return conn
	}
}

// the condition of the loop looks at nothing but the error
func inTheCondition() (conn net.Conn, err error) {
	conn, err = dial()
	for err == net.ErrClosed { // want "RL2: this loop retries without a bound, backoff or jitter"
		time.Sleep(time.Second)
		conn, err = dial()
	}
	return conn, err
}

// the items of the list are delays
func delays() (conn net.Conn, err error) {
	for _, delay := range []time.Duration{1, 2, 4} { // want "RL2: this loop retries without jitter"
		if conn, err = dial(); err == nil {
			return conn, nil
		}
		time.Sleep(delay * time.Second)
	}
	return nil, err
}

func untilDone() (conn net.Conn) {
	for done := false; !done; { // want "RL2: this loop retries without backoff or jitter"
		var err error
		if conn, err = dial(); err != nil {
			time.Sleep(time.Second)
			continue
		}
		done = true
	}
	return conn
}
