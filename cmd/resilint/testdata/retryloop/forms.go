package retryloop

import (
	"errors"
	"net"
	"net/http"
	"time"
)

func withGoto(addr string) error {
	tries := 0
again: // want `RL2: this loop retries without backoff or jitter`
	err := connect(addr)
	if err != nil {
		if tries++; tries < 5 {
			time.Sleep(time.Second)
			goto again
		}
		return err
	}
	return nil
}

func withGotoForEver(addr string) {
again: // want `RL2: this loop retries without a bound, backoff or jitter`
	if connect(addr) != nil {
		time.Sleep(time.Second)
		goto again
	}
}

func inASwitchOfTheError(addr string) error {
	for { // want `RL2: this loop retries without a bound, backoff or jitter`
		switch err := connect(addr); err {
		case nil:
			return nil
		case net.ErrClosed:
			time.Sleep(time.Second)
		default:
			return err
		}
	}
}

func byAnAssertion(addr string) error {
	for { // want `RL2: this loop retries without a bound, backoff or jitter`
		err := connect(addr)
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			time.Sleep(time.Second)
			continue
		}
		return err
	}
}

func byAsType(addr string) error {
	for { // want `RL2: this loop retries without a bound, backoff or jitter`
		err := connect(addr)
		if _, ok := errors.AsType[net.Error](err); !ok {
			return err
		}
		time.Sleep(time.Second)
	}
}

func (c *client) inAField(addr string) {
	for range 3 { // want `RL2: this loop retries without backoff or jitter`
		c.err = connect(addr)
		if c.err == nil {
			return
		}
		time.Sleep(time.Second)
	}
}

func fromAnInnerLoop(addrs []string) error {
outer:
	for range 3 { // want `RL2: this loop retries without backoff or jitter`
		for _, addr := range addrs {
			if connect(addr) != nil {
				time.Sleep(time.Second)
				continue outer
			}
		}
		return nil
	}
	return errors.New("gave up")
}

func (c *client) waitsInAMethod(addr string) {
	for { // want `RL2: this loop retries without a bound:`
		if connect(addr) == nil {
			return
		}
		c.pause()
	}
}

func (c *client) pause() { time.Sleep(time.Second) }

// one address after the other, again and again
func byTurns(addrs []string) (conn net.Conn, err error) {
	for i := 0; i < 10; i++ { // want `RL2: this loop retries without backoff or jitter`
		if conn, err = net.Dial("tcp", addrs[i%len(addrs)]); err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return conn, err
}

// each item is tried once
func byIndex(addrs []string) (conn net.Conn, err error) {
	for i := 0; i < len(addrs); i++ {
		if conn, err = net.Dial("tcp", addrs[i]); err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return conn, err
}

func everySecond(addrs []string) (conn net.Conn, err error) {
	for i := 0; i < len(addrs); i += 2 {
		if conn, err = net.Dial("tcp", addrs[i]); err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return conn, err
}

func byIndexOfARange(addrs []string) (conn net.Conn, err error) {
	for i := range len(addrs) {
		addr := addrs[i]
		if conn, err = net.Dial("tcp", addr); err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return conn, err
}

func madeOfTheItem(hosts []string) (response *http.Response, err error) {
	for _, host := range hosts {
		url := "https://" + host
		if response, err = http.Get(url); err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return response, err
}

// it goes on after a success
func (c *client) periodicInAField(addr string) {
	for {
		if c.err = connect(addr); c.err != nil {
			time.Sleep(time.Second)
			continue
		}
		println(addr)
	}
}

func periodicWithGoto(addr string) {
again:
	if err := connect(addr); err != nil {
		println(err)
	}
	time.Sleep(time.Second)
	goto again
}

func cleansUpWithGoto(addr string) (err error) {
	if err = connect(addr); err != nil {
		goto out
	}
	time.Sleep(time.Second)
	err = connect(addr)
out:
	return err
}

// the outer loop goes on after a success
func inAnotherGoto(addr string, more func() bool) {
begin:
	left := 3
again: // want `RL2: this loop retries without backoff or jitter`
	if connect(addr) != nil {
		if left > 0 {
			left--
			time.Sleep(time.Second)
			goto again
		}
		return
	}
	if more() {
		goto begin
	}
}

// it reads packets until there are no more
func readsPackets(conn net.PacketConn, packet []byte) (all int, _ error) {
	for {
		n, _, err := conn.ReadFrom(packet)
		if err != nil {
			if err, ok := err.(net.Error); ok {
				if err.Timeout() {
					break
				}
				time.Sleep(time.Millisecond)
				continue
			}
			return all, err
		}
		all += n
	}
	return all, nil
}
