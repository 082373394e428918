package retryloop

import (
	"math/rand/v2"
	"net"
	"os"
	"time"
)

func backsOff() (conn net.Conn, err error) {
	for i := range 5 {
		if conn, err = dial(); err == nil {
			break
		}
		time.Sleep(delay(i))
	}
	return conn, err
}

func delay(i int) time.Duration {
	return time.Duration(rand.Int64N(int64(time.Second << i)))
}

// its owner can stop it
func untilStopped(stop <-chan struct{}) net.Conn {
	for {
		conn, err := dial()
		if err == nil {
			return conn
		}
		select {
		case <-stop:
			return nil
		case <-time.After(time.Second):
		}
	}
}

// a delay from elsewhere is not judged
func fromElsewhere(next interface{ NextBackOff() time.Duration }) (conn net.Conn, err error) {
	deadline := time.Now().Add(time.Minute)
	for {
		if conn, err = dial(); err == nil || time.Now().After(deadline) {
			return conn, err
		}
		time.Sleep(next.NextBackOff())
	}
}

// it ends at an error
func waitsForAFile(name string) error {
	for {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if info.Size() > 0 {
			return nil
		}
		time.Sleep(time.Second)
	}
}
