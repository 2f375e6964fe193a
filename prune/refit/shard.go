package refit

import (
	"context"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/lsq"
)

// Shard is the part of a corpus that a scorer has where several processes share a fit, each with windows of its own.
type Shard struct {
	First  int // the number that the scorer's first window has in the whole corpus
	Rounds Rounds
}

// Rounds bring together what the processes know. All of them go through the same rounds in the same order, as each gives the same to all.
type Rounds interface {
	// Fit gives what Round.Solve makes of the sums of all processes: the layer with its fit, nil if that was not taken, and the record.
	Fit(ctx context.Context, r Round) (made *model.Layer, record Fit, err error)
}

// Round is the fit of one projection.
type Round struct {
	Fit    Fit          // Layer, Boundary and Projection of it
	Number int          // of the fits of this layer of the model, from 0 on
	Layer  *model.Layer // before the fit
	Role   arch.Role    // of the projection; the role of its bias is the next

	// Sums runs the layer for the process's own windows and adds up the equations of those to fit and of those that are held out.
	Sums func(ctx context.Context) (fitted, held *lsq.Equations, err error)
	// Solve makes the fit of the sums over all windows.
	Solve func(ctx context.Context, fitted, held *lsq.Equations) (made *model.Layer, record Fit, err error)
}
