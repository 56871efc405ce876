// Package run holds what every saguard process needs to run: its logger and its health endpoint.
package run

import (
	"fmt"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Logger returns a JSON logger on sink. level is "error", "info" or "debug"; debug shows V(1).
func Logger(level string, sink zapcore.WriteSyncer) (logr.Logger, error) {
	var l zapcore.Level
	switch level {
	case "error":
		l = zapcore.ErrorLevel
	case "info":
		l = zapcore.InfoLevel
	case "debug":
		l = zapcore.DebugLevel
	default:
		return logr.Discard(), fmt.Errorf("log level %q: want error, info or debug", level)
	}
	encoder := zap.NewProductionEncoderConfig()
	encoder.TimeKey = "time"
	encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	return zapr.NewLogger(zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoder), sink, l))), nil
}
