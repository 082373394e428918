package retryloop

import (
	"encoding/json"
	"errors"
	"io"
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

// the time that has passed is kept in a variable
func untilItTakesTooLong() (conn net.Conn, err error) {
	start := time.Now()
	for i := 0; ; i++ {
		if conn, err = dial(); err == nil {
			return conn, nil
		}
		elapsed := time.Since(start)
		if elapsed > time.Minute {
			return nil, err
		}
		time.Sleep(delay(i))
	}
}

type client struct {
	closed bool
	err    error
}

// its owner can close it
func (c *client) untilClosed() (conn net.Conn, err error) {
	for i := 0; ; i++ {
		if c.closed {
			return nil, net.ErrClosed
		}
		if conn, err = dial(); err == nil {
			return conn, nil
		}
		time.Sleep(delay(i))
	}
}

// it goes on after a success, and reads to the end
func reads(next func() error) error {
	for {
		err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
}

// success and failure go the same way: it reads until there is no more
func collects(next func() (more bool), add func() error) (err error) {
	for {
		time.Sleep(time.Second)
		more := next()
		if e := add(); e != nil && err == nil {
			err = e
		}
		if !more {
			return err
		}
	}
}

// each item is tried once
func perItem(addresses []string) (conn net.Conn, err error) {
	for _, address := range addresses {
		if conn, err = net.Dial("tcp", address); err == nil {
			return conn, nil
		}
		time.Sleep(time.Second)
	}
	return nil, err
}

// so is each of a channel
func fromAChannel(requests <-chan string) {
	for request := range requests {
		conn, err := net.Dial("tcp", request)
		if err != nil {
			time.Sleep(time.Second)
			continue
		}
		if conn != nil {
			return
		}
	}
}

// it reads on in a stream
func decodes(stream io.Reader) (value int) {
	decoder := json.NewDecoder(stream)
	for {
		if err := decoder.Decode(&value); err != nil {
			time.Sleep(time.Second)
			continue
		}
		return value
	}
}

// its owner can close it, which is said in more than one line
func (c *client) untilClosedWithALog() (conn net.Conn, err error) {
	for i := 0; ; i++ {
		if conn, err = dial(); err == nil {
			return conn, nil
		}
		time.Sleep(delay(i))
		if c.closed {
			if conn != nil {
				println("closed")
			}
			return nil, net.ErrClosed
		}
	}
}

// it goes on after a success, until its owner stops it
func (c *client) periodic(stop func() bool) {
	for {
		if stop() {
			return
		}
		conn, err := dial()
		if err != nil {
			time.Sleep(time.Second)
			continue
		}
		println(conn)
	}
}

// so does this one
func (c *client) periodicWithACondition() {
	for !c.closed {
		conn, err := dial()
		if err != nil {
			time.Sleep(time.Second)
			continue
		}
		println(conn)
	}
}

// each of the passes is to succeed
func threeTimes() {
	for i := 0; i < 3; i++ {
		conn, err := dial()
		if err != nil {
			time.Sleep(time.Second)
			continue
		}
		println(conn)
	}
}

// it looks whether a file is there
func untilItIsThere(name string) error {
	for range 100 {
		_, err := os.Stat(name)
		if err == nil {
			return nil
		}
		time.Sleep(time.Second)
	}
	return os.ErrNotExist
}

// it reads messages for ever, and hands them on
func receives(receive func() (any, error), messages chan any, timer *time.Timer) {
	failures := 0
	for {
		message, err := receive()
		if err != nil {
			if err == net.ErrClosed {
				close(messages)
				return
			}
			if failures > 0 {
				time.Sleep(time.Second)
			}
			failures++
			continue
		}
		failures = 0
		switch message := message.(type) {
		case string:
			timer.Reset(time.Second)
			select {
			case messages <- message:
				if !timer.Stop() {
					<-timer.C
				}
			case <-timer.C:
				println("full")
			}
		default:
			println("unknown")
		}
	}
}
