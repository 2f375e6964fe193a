// Package abi is what vkcome's C interface does, without a type of C: handles, codes, requests in JSON, and calls whose progress comes on the
// caller's goroutine. vkcome.h says what each function promises; package main beside it turns pointers into texts, and texts into pointers.
package abi

import (
	"context"
	"fmt"
	"sync"
)

// Handle stands for an object of a Library. 0 is none.
type Handle uint64

// Library holds the objects that programs have open. Its methods may be called from any goroutine.
type Library struct {
	mu      sync.Mutex
	last    Handle
	objects map[Handle]*object
}

// New makes a library without objects.
func New() *Library { return &Library{objects: map[Handle]*object{}} }

// object is what a handle stands for.
type object struct {
	value any
	users int // calls and generators that have it
	busy  bool
}

// kinds are what values of objects are called.
func kindOf(value any) string {
	switch value.(type) {
	case *device:
		return "device"
	case *opened:
		return "model"
	case *generator:
		return "generator"
	case *token:
		return "cancel"
	}
	return "object"
}

// add makes a handle for a value.
func (l *Library) add(value any) Handle {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	l.objects[l.last] = &object{value: value}
	return l.last
}

// find is the object of a handle, which must be of the type. The caller holds the lock.
func find[T any](l *Library, h Handle) (o *object, value T, err error) {
	want := kindOf(value)
	o, there := l.objects[h]
	switch {
	case h == 0:
		return nil, value, fail(BadHandle, fmt.Errorf("0 is no %s", want))
	case !there && h <= l.last:
		return nil, value, fail(BadHandle, fmt.Errorf("handle %d of a %s was closed", h, want))
	case !there:
		return nil, value, fail(BadHandle, fmt.Errorf("handle %d of a %s was never given", h, want))
	}
	value, ok := o.value.(T)
	if !ok {
		return nil, value, fail(BadHandle, fmt.Errorf("handle %d is a %s, not a %s", h, kindOf(o.value), want))
	}
	return o, value, nil
}

// use keeps an object from being closed until release.
func use[T any](l *Library, h Handle) (value T, release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, value, err := find[T](l, h)
	if err != nil {
		return value, nil, err
	}
	o.users++
	return value, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		o.users--
	}, nil
}

// claim is use of an object that works for one at a time.
func claim[T any](l *Library, h Handle) (value T, release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, value, err := find[T](l, h)
	switch {
	case err != nil:
		return value, nil, err
	case o.busy:
		return value, nil, fail(Busy, fmt.Errorf("the %s of handle %d works for another call", kindOf(value), h))
	}
	o.users++
	o.busy = true
	return value, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		o.users--
		o.busy = false
	}, nil
}

// remove takes an object that nothing uses off the table, for who closes it.
func remove[T any](l *Library, h Handle) (value T, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, value, err := find[T](l, h)
	switch {
	case err != nil:
		return value, err
	case o.users > 0:
		return value, fail(Busy, fmt.Errorf("the %s of handle %d is in use: it stays open", kindOf(value), h))
	}
	delete(l.objects, h)
	return value, nil
}

// token is a vkcome_cancel.
type token struct {
	ctx    context.Context
	cancel context.CancelFunc
}

// OpenCancel makes a token.
func (l *Library) OpenCancel() Handle {
	t := &token{}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return l.add(t)
}

// Cancel cancels the calls that have the token, and those that will.
func (l *Library) Cancel(h Handle) error {
	t, release, err := use[*token](l, h)
	if err != nil {
		return err
	}
	defer release()
	t.cancel()
	return nil
}

// CloseCancel closes a token. Calls that have it go on.
func (l *Library) CloseCancel(h Handle) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, _, err := find[*token](l, h); err != nil {
		return err
	}
	delete(l.objects, h)
	return nil
}
