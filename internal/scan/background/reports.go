package background

import (
	"context"
	"errors"
	"fmt"

	openreports "github.com/openreports/reports-api/apis/openreports.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/internal/scan"
	"github.com/saguard/saguard/internal/scan/report"
)

// reportsPage is how many reports are read at once; each can have half a megabyte.
const reportsPage = 50

// writeReports makes the OpenReports of the cluster those of the result, where its CRDs are; that is found out at every scan. What has not
// changed is not written.
func (s *Scanner) writeReports(ctx context.Context, r *scan.Result) error {
	reports, cluster := report.Reports(r)
	want := map[client.ObjectKey]client.Object{}
	for i := range reports {
		want[client.ObjectKeyFromObject(&reports[i])] = &reports[i]
	}
	errs := []error{s.replace(ctx, func() client.ObjectList { return &openreports.ReportList{} }, want)}
	want = map[client.ObjectKey]client.Object{}
	if cluster != nil {
		want[client.ObjectKeyFromObject(cluster)] = cluster
	}
	errs = append(errs, s.replace(ctx, func() client.ObjectList { return &openreports.ClusterReportList{} }, want))
	return errors.Join(errs...)
}

// replace makes the reports of one kind that are saguard's those that are wanted.
func (s *Scanner) replace(ctx context.Context, newList func() client.ObjectList, want map[client.ObjectKey]client.Object) error {
	var errs []error
	for token := ""; ; {
		list := newList()
		err := s.Client.List(ctx, list, client.MatchingLabels{report.LabelManagedBy: report.ManagedBy}, client.Limit(reportsPage), client.Continue(token))
		switch {
		case meta.IsNoMatchError(err) || apierrors.IsNotFound(err):
			return nil // not installed
		case err != nil:
			return fmt.Errorf("list reports: %w", err)
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return fmt.Errorf("read reports: %w", err)
		}
		for _, item := range items {
			have, ok := item.(client.Object)
			if !ok || have.GetName() != report.Name {
				continue // somebody else's, who uses the label too
			}
			errs = append(errs, s.settle(ctx, have, want))
		}
		if token = list.GetContinue(); token == "" {
			break
		}
	}
	for key, o := range want {
		if err := s.Client.Create(ctx, o); err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("create report %s: %w", key, err))
		}
	}
	return errors.Join(errs...)
}

// isGone reports that the namespace of a report went in the meantime.
func isGone(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, "NamespaceTerminating")
}

// settle updates a report that is there, or deletes it, and takes it off what is wanted.
func (s *Scanner) settle(ctx context.Context, have client.Object, want map[client.ObjectKey]client.Object) error {
	key := client.ObjectKeyFromObject(have)
	o, wanted := want[key]
	delete(want, key)
	switch {
	case !wanted:
		if err := s.Client.Delete(ctx, have); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete report %s: %w", key, err)
		}
		return nil
	case same(have, o):
		return nil
	}
	o.SetResourceVersion(have.GetResourceVersion())
	if err := s.Client.Update(ctx, o); err != nil && !isGone(err) {
		return fmt.Errorf("update report %s: %w", key, err)
	}
	return nil
}

// same compares what reports say.
func same(a, b client.Object) bool {
	switch x := a.(type) {
	case *openreports.Report:
		y, ok := b.(*openreports.Report)
		return ok && x.Summary == y.Summary && equality.Semantic.DeepEqual(x.Results, y.Results)
	case *openreports.ClusterReport:
		y, ok := b.(*openreports.ClusterReport)
		return ok && x.Summary == y.Summary && equality.Semantic.DeepEqual(x.Results, y.Results)
	default:
		return false
	}
}
