package model

import "errors"

// ErrLasting is in the chain of errors that the same run meets again, whenever it is tried: they come of the model, the text and the options,
// and not of the device, the disk or the moment. Whoever says how to go on after an error asks for it.
var ErrLasting = errors.New("the same run ends so again")

// Lasting puts ErrLasting into an error's chain. Its text stays.
func Lasting(err error) error { return lasting{err} }

type lasting struct{ error }

func (l lasting) Unwrap() error        { return l.error }
func (l lasting) Is(target error) bool { return target == ErrLasting }

// Is tells that the error is an ErrLasting.
func (e *NonFiniteError) Is(target error) bool { return target == ErrLasting }
