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
