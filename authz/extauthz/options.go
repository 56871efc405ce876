package extauthz

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-logr/logr"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/policy"
)

// Snapshots is where the server takes what it decides on.
type Snapshots interface {
	// Snapshot returns the latest snapshot and its revision. ok is false as long as, or as soon as, nobody vouches that it
	// is complete and recent; then nothing is served. It is called for every check and must not block.
	Snapshot() (s *policy.Snapshot, revision uint64, ok bool)
}

// Recorder keeps decision records; it is *audit.Writer.
type Recorder interface {
	Write(r *audit.Record) error
}

// Defaults of [Options].
const (
	DefaultMaxConcurrent   = 256
	DefaultMaxMessageBytes = 1 << 20
	// DefaultTimeout is less than Envoy's own default of 200 ms: a check that has to wait too long is denied, and no error.
	DefaultTimeout = 150 * time.Millisecond
	// DefaultRecordRate is enough to see what a client does, and at some 700 bytes a record some 60 MB a day for one that
	// does nothing else.
	DefaultRecordRate = 60
)

// Endpoint is where one protocol is served. The zero value is nowhere.
type Endpoint struct {
	// Socket is the path of a unix socket, made with mode 0660; its folder has to exist.
	Socket string
	// SocketGroup owns the socket: proxies in that group may connect. 0 leaves it to the process's group.
	SocketGroup int
	// Address is a TCP address. It needs TLS.
	Address string
	// TLS is required where there is an Address.
	TLS *MutualTLS
}

// Options are the parts of a Server; all are required unless they say otherwise.
type Options struct {
	Snapshots Snapshots
	Config    *authz.Config
	Recorder  Recorder
	Metrics   *Metrics
	Log       logr.Logger
	Now       func() time.Time
	// GRPC and JSON are where the two protocols are served; one of them may be nowhere.
	GRPC, JSON Endpoint
	// MaxConcurrent bounds the checks at once; 0 is DefaultMaxConcurrent. Beyond it checks wait for Timeout and are then
	// denied.
	MaxConcurrent int
	// MaxMessageBytes bounds one request; 0 is DefaultMaxMessageBytes.
	MaxMessageBytes int
	// Timeout bounds one check; 0 is DefaultTimeout.
	Timeout time.Duration
	// RecordAllowed records what is allowed as well, each by itself, and then refuses what cannot be recorded.
	RecordAllowed bool
	// RecordRate bounds the records of refusals in a minute for each source account, beyond the first of each kind; 0 is
	// DefaultRecordRate. What has no record of its own is counted in one of its kind.
	RecordRate int
	// Listening, optional, is called once all listeners are open.
	Listening func([]net.Addr)
}

func (o *Options) complete() error {
	for _, required := range []struct {
		name    string
		missing bool
	}{
		{"Snapshots", o.Snapshots == nil}, {"Config", o.Config == nil}, {"Recorder", o.Recorder == nil},
		{"Metrics", o.Metrics == nil}, {"Now", o.Now == nil},
	} {
		if required.missing {
			return fmt.Errorf("authz options: %s is required", required.name)
		}
	}
	if o.GRPC.nowhere() && o.JSON.nowhere() {
		return errors.New("authz options: GRPC or JSON needs a socket or an address")
	}
	if o.MaxConcurrent < 0 || o.MaxMessageBytes < 0 || o.Timeout < 0 || o.RecordRate < 0 {
		return errors.New("authz options: MaxConcurrent, MaxMessageBytes, Timeout and RecordRate cannot be negative")
	}
	if o.RecordRate == 0 {
		o.RecordRate = DefaultRecordRate
	}
	if o.MaxConcurrent == 0 {
		o.MaxConcurrent = DefaultMaxConcurrent
	}
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = DefaultMaxMessageBytes
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return errors.Join(o.GRPC.validate("GRPC"), o.JSON.validate("JSON"))
}

func (e *Endpoint) nowhere() bool { return e.Socket == "" && e.Address == "" }

// validate refuses TCP without mutual TLS: whoever may ask learns what policy says, and a man in the middle could answer.
func (e *Endpoint) validate(name string) error {
	if e.Address == "" {
		return nil
	}
	return e.TLS.validate(name)
}
