package everyerror

import (
	"context"
	"errors"
	"os"
	"time"
)

func asks(ctx context.Context) (page string, err error) {
	for range 3 {
		page, err = fetch(ctx)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return page, err
		}
		time.Sleep(time.Second)
	}
	return "", err
}

func compares(ctx context.Context) (page string, err error) {
	for range 3 {
		page, err = fetch(ctx)
		if err == nil {
			return page, err
		}
		if err == os.ErrPermission {
			break
		}
		time.Sleep(time.Second)
	}
	return "", err
}

func asksTheContext(ctx context.Context) (page string, err error) {
	for ctx.Err() == nil {
		page, err = fetch(ctx)
		if err == nil {
			return page, err
		}
		time.Sleep(time.Second)
	}
	return "", err
}
