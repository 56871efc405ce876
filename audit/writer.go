package audit

import (
	"fmt"

	"go.uber.org/zap/zapcore"
)

// Writer writes records as JSON lines through a zap core. It is safe for concurrent use.
type Writer struct{ core zapcore.Core }

// NewWriter returns a writer on sink, which must serialize its own writes (zapcore.Lock).
func NewWriter(sink zapcore.WriteSyncer) *Writer {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey:    "time",
		EncodeTime: zapcore.RFC3339NanoTimeEncoder,
		LineEnding: zapcore.DefaultLineEnding,
	})
	return &Writer{core: zapcore.NewCore(encoder, sink, zapcore.InfoLevel)}
}

// Write writes one line, or returns why not: ErrNoOutcome, or the sink's error.
func (w *Writer) Write(r *Record) error {
	if err := r.Validate(); err != nil {
		return err
	}
	entry := zapcore.Entry{Level: zapcore.InfoLevel, Time: r.Time.UTC()}
	if err := w.core.Write(entry, []zapcore.Field{{Type: zapcore.InlineMarshalerType, Interface: r}}); err != nil {
		return fmt.Errorf("write decision record: %w", err)
	}
	return nil
}

// MarshalLogObject implements zapcore.ObjectMarshaler with the field names of the JSON tags; the time is the entry's.
func (r *Record) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("schema", Schema)
	e.AddString("component", r.Component)
	e.AddString("decision", string(r.Decision))
	e.AddString("reason", r.Reason)
	addString(e, "mode", r.Mode)
	if len(r.Checks) > 0 {
		if err := e.AddArray("checks", zapcore.ArrayMarshalerFunc(func(a zapcore.ArrayEncoder) error {
			for i := range r.Checks {
				if err := a.AppendObject(&r.Checks[i]); err != nil {
					return err
				}
			}
			return nil
		})); err != nil {
			return err
		}
	}
	addString(e, "user", r.User)
	if err := addStrings(e, "groups", r.Groups); err != nil {
		return err
	}
	addString(e, "operation", r.Operation)
	if r.Object != (Object{}) {
		if err := e.AddObject("object", &r.Object); err != nil {
			return err
		}
	}
	if len(r.LabelDiff) > 0 {
		if err := e.AddReflected("labelDiff", r.LabelDiff); err != nil {
			return err
		}
	}
	if err := addStrings(e, "exemptFrom", r.ExemptFrom); err != nil {
		return err
	}
	if r.Flow != nil {
		if err := e.AddObject("flow", r.Flow); err != nil {
			return err
		}
	}
	addString(e, "uid", r.UID)
	if r.DryRun {
		e.AddBool("dryRun", true)
	}
	e.AddUint64("revision", r.Revision)
	e.AddInt64("durationMicros", r.DurationMicros)
	addString(e, "error", r.Error)
	if r.More > 0 {
		e.AddUint64("more", r.More)
	}
	return nil
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (c *Check) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("id", c.ID)
	e.AddString("reason", c.Reason)
	addString(e, "mode", c.Mode)
	addString(e, "field", c.Field)
	if len(c.Tuples) == 0 {
		return nil
	}
	return e.AddArray("tuples", zapcore.ArrayMarshalerFunc(func(a zapcore.ArrayEncoder) error {
		for i := range c.Tuples {
			if err := a.AppendObject(&c.Tuples[i]); err != nil {
				return err
			}
		}
		return nil
	}))
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (t *Tuple) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("verb", t.Verb)
	e.AddString("resource", t.Resource)
	addString(e, "group", t.Group)
	addString(e, "name", t.Name)
	addString(e, "namespace", t.Namespace)
	e.AddBool("allowed", t.Allowed)
	addString(e, "grantedBy", t.GrantedBy)
	if t.Unanswered {
		e.AddBool("unanswered", true)
	}
	return nil
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (o *Object) MarshalLogObject(e zapcore.ObjectEncoder) error {
	addString(e, "group", o.Group)
	addString(e, "resource", o.Resource)
	addString(e, "subresource", o.Subresource)
	addString(e, "namespace", o.Namespace)
	addString(e, "name", o.Name)
	return nil
}

func addString(e zapcore.ObjectEncoder, key, value string) {
	if value != "" {
		e.AddString(key, value)
	}
}

func addStrings(e zapcore.ObjectEncoder, key string, values []string) error {
	if len(values) == 0 {
		return nil
	}
	return e.AddArray(key, zapcore.ArrayMarshalerFunc(func(a zapcore.ArrayEncoder) error {
		for _, v := range values {
			a.AppendString(v)
		}
		return nil
	}))
}
