// Package packetlog records the packets that the kernel denied, and those that a rule with action Log matched.
package packetlog

import (
	"context"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// Component is this part's name in decision records.
const Component = "agent"

// checkPolicy is the ID of a record's one check, as in the identity check's.
const checkPolicy = "policy"

// The reasons of a record.
const (
	reasonRule     = "rule"           // a rule of a policy
	reasonEnd      = "end-of-tier"    // no rule of a tier whose policies apply
	reasonProfile  = "no-namespace"   // the pod's namespace is not there
	reasonUnparsed = "unparsed-rule"  // a rule that could not be read
	reasonVacant   = "unknown-pod"    // an address of the cluster's pods that no pod is known to have
	reasonLogged   = "logged"         // a rule with action Log; what became of the packet is the decision
	reasonUnknown  = "rule-not-known" // the rule was gone before the packet was read
)

// Recorder keeps decision records; it is *audit.Writer.
type Recorder interface {
	Write(r *audit.Record) error
}

// Log records packets.
type Log struct {
	Packets  <-chan enforce.Packet
	Recorder Recorder
	Log      logr.Logger
	Now      func() time.Time
	// PerSecond bounds the records in the long run, a burst is ten times that. 0 records nothing.
	PerSecond int
}

// Run records until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	limit := rate.NewLimiter(rate.Limit(l.PerSecond), 10*l.PerSecond)
	lost, failing := uint64(0), false
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-l.Packets:
			lost += p.Lost
			if !limit.AllowN(l.Now(), 1) {
				lost++
				continue
			}
			p.Lost = lost
			err := l.Recorder.Write(Record(p))
			if err == nil {
				lost, failing = 0, false
				continue
			}
			// The packet was dropped whether or not that can be recorded.
			lost++
			if !failing {
				failing = true
				l.Log.Info("packets are not recorded", "error", err.Error())
			}
		}
	}
}

// Record is a packet as a decision record: User is the account that owns the source address, Object the pod that owns the
// destination's.
func Record(p enforce.Packet) *audit.Record {
	reason, result := reasonOf(p), "refused"
	r := &audit.Record{
		Schema: audit.Schema, Time: p.Time, Component: Component, Decision: audit.Denied, Reason: reason, Mode: "Enforce",
		Operation: "connect", Revision: p.Revision, Flow: flow(p),
	}
	if p.Allowed {
		r.Decision, result = audit.Allowed, "granted"
	}
	r.Checks = []audit.Check{{ID: checkPolicy, Reason: result, Field: p.Rule.String()}}
	if namespace, name, ok := strings.Cut(p.Source.Account, "/"); ok {
		r.User = "system:serviceaccount:" + namespace + ":" + name
	}
	if p.Target.Pod != (ruleset.Pod{}) {
		r.Object = audit.Object{Resource: "pods", Namespace: p.Target.Pod.Namespace, Name: p.Target.Pod.Name}
	}
	return r
}

func reasonOf(p enforce.Packet) string {
	switch r := p.Rule; {
	case r == ruleset.Rule{}:
		return reasonUnknown
	case p.Allowed:
		return reasonLogged
	case r.Vacant, r.Stranger:
		return reasonVacant
	case r.Unparsed:
		return reasonUnparsed
	case r.Index == ruleset.EndOfTier && r.Tier == "":
		return reasonProfile
	case r.Index == ruleset.EndOfTier:
		return reasonEnd
	default:
		return reasonRule
	}
}

func flow(p enforce.Packet) *audit.Flow {
	f := &audit.Flow{
		Direction: p.Direction.String(), Source: end(p.Source), Destination: end(p.Target), Protocol: p.Flow.Protocol,
		Tier: p.Rule.Tier, Policy: p.Rule.Policy, Rule: p.Rule.Index, Lost: p.Lost,
	}
	switch p.Flow.Protocol {
	case 6, 17, 132, 136: // TCP, UDP, SCTP, UDPLite
		f.Source.Port, f.Destination.Port = &p.Flow.SourcePort, &p.Flow.Port
	case 1, 58: // ICMP, ICMPv6
		f.ICMPType, f.ICMPCode = &p.Flow.ICMPType, &p.Flow.ICMPCode
	}
	return f
}

func end(p enforce.Party) audit.End {
	e := audit.End{Address: p.Address.String(), Namespace: p.Pod.Namespace, Pod: p.Pod.Name}
	if namespace, name, ok := strings.Cut(p.Account, "/"); ok {
		e.Namespace, e.Account = namespace, name
	}
	return e
}
