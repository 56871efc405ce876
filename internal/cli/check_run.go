package cli

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/request"
	"github.com/saguard/saguard/webhook"
)

// reviewer judges one request; it is *webhook.Offline.
type reviewer interface {
	Review(ctx context.Context, r *webhook.Request) webhook.Decision
}

// liveObject returns the object that an item would update; nil if there is none.
type liveObject func(ctx context.Context, i *checkItem) (*unstructured.Unstructured, error)

// noLive is for files alone: everything is created.
func noLive(context.Context, *checkItem) (*unstructured.Unstructured, error) { return nil, nil }

// checkAll judges every item. Items that could not be judged are errors, and in the report all the same.
func checkAll(ctx context.Context, items []checkItem, subject identity.Subject, live liveObject, judge reviewer) (*checkReport, error) {
	r := newCheckReport(subject)
	var errs []error
	for i := range items {
		object, err := check(ctx, &items[i], subject, live, judge)
		if err != nil {
			err = fmt.Errorf("%s: %s: %w", items[i].source, items[i].describe(), err)
			errs = append(errs, err)
		}
		r.Objects = append(r.Objects, object)
	}
	return r, errors.Join(errs...)
}

func check(ctx context.Context, i *checkItem, subject identity.Subject, live liveObject, judge reviewer) (checkedObject, error) {
	out := checkedObject{
		Source: i.source, APIVersion: i.GetAPIVersion(), Kind: i.GetKind(), Namespace: i.GetNamespace(), Name: i.GetName(),
		GenerateName: i.GetGenerateName(), Decision: decisionError,
	}
	fail := func(err error) (checkedObject, error) {
		out.Error = err.Error()
		return out, err
	}
	old, err := live(ctx, i)
	if err != nil {
		return fail(err)
	}
	object := request.WithoutServerFields(i.Unstructured)
	if old != nil {
		if object, err = applied(i.Unstructured, old); err != nil {
			return fail(err)
		}
	}
	asked, err := i.request(subject, object, old)
	if err != nil {
		return fail(err)
	}
	out.Operation = string(asked.Operation)
	d := judge.Review(ctx, asked)
	out.Reason, out.Warnings = d.Reason, d.Warnings
	unanswered := false
	for _, v := range d.Violations() {
		unanswered = unanswered || v.Unanswered
		out.Findings = append(out.Findings, checkFinding{Check: v.Check, Mode: v.Mode, Field: v.Field, Message: v.Message, CanI: v.CanI})
	}
	switch {
	case d.Reason == webhook.ReasonNamespaceUnknown:
		return fail(fmt.Errorf("namespace %s is not known, and guards choose by the labels of namespaces: give its manifest too", i.GetNamespace()))
	case d.Reason == webhook.ReasonMalformed:
		out.Decision = decisionDenied
		out.Findings = append(out.Findings, checkFinding{Check: d.Reason, Mode: v1alpha1.ModeEnforce, Message: d.Message})
	case unanswered || d.Denied() && len(out.Findings) == 0:
		return fail(fmt.Errorf("%s: %w", d.Message, errorOr(d.Err, errors.New(d.Reason))))
	case d.Denied():
		out.Decision = decisionDenied
	default:
		out.Decision = decisionAllowed
	}
	return out, nil
}

func errorOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
