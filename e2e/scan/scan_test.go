package scan_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/saguard/saguard/e2e/install"
)

const patience = time.Minute

var (
	guards         = schema.GroupVersionResource{Group: "saguard.io", Version: "v1alpha1", Resource: "serviceaccountguards"}
	reports        = schema.GroupVersionResource{Group: "openreports.io", Version: "v1alpha1", Resource: "reports"}
	clusterReports = schema.GroupVersionResource{Group: "openreports.io", Version: "v1alpha1", Resource: "clusterreports"}
)

// findings are each "CHECK CERTAINTY OBJECT".
type findings []string

// brownfield is what is wrong with testdata/world.yaml under testdata/guards.yaml.
func brownfield() findings {
	return findings{
		"account-use nobody-may Deployment prod/pay",
		"default-binding nobody-may RoleBinding prod/to-default",
		"hollow-guard certain ClusterRoleBinding gitops", // applies-everything
		"hollow-guard certain ClusterRoleBinding gitops", // wildcard
		"label-use nobody-may ServiceAccount prod/payments",
		"policy-hygiene certain NetworkPolicy prod/wide",
		"reserved-label certain Namespace prod",
	}
}

func (f findings) byCheck() map[string]int64 {
	out := map[string]int64{}
	for _, x := range f {
		out[strings.Fields(x)[0]]++
	}
	return out
}

func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("wait for %s: %v", what, last)
	}
}

// cli is what `kubectl saguard scan` finds, and its exit code.
func cli(t *testing.T, args ...string) (findings, int64, int) {
	t.Helper()
	out, err := shared.Saguard(t.Context(), shared.Admin, append([]string{"scan", "-o", "json"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Violations []struct {
			Check, Certainty string
			Object           struct{ Kind, Namespace, Name string }
		}
		TotalUnjudged int64
	}
	if err := json.Unmarshal([]byte(out.Stdout), &got); err != nil {
		t.Fatalf("%v: %s%s", err, out.Stdout, out.Stderr)
	}
	found := findings{}
	for _, v := range got.Violations {
		name := v.Object.Name
		if v.Object.Namespace != "" {
			name = v.Object.Namespace + "/" + name
		}
		found = append(found, v.Check+" "+v.Certainty+" "+v.Object.Kind+" "+name)
	}
	slices.Sort(found)
	return found, got.TotalUnjudged, out.Code
}

// status is what the background scan says in the status of a guard.
func status(ctx context.Context, c dynamic.Interface, guard string) (total, unjudged int64, byCheck map[string]int64, err error) {
	o, err := c.Resource(guards).Get(ctx, guard, metav1.GetOptions{})
	if err != nil {
		return 0, 0, nil, err
	}
	v, ok, err := unstructured.NestedMap(o.Object, "status", "violations")
	if err != nil || !ok {
		return 0, 0, nil, fmt.Errorf("no violations in the status of %s: %v", guard, err)
	}
	byCheck = map[string]int64{}
	counts, _ := v["byCheck"].(map[string]any)
	for check, n := range counts {
		byCheck[check], _ = n.(int64)
	}
	total, _ = v["total"].(int64)
	unjudged, _ = v["unjudged"].(int64)
	return total, unjudged, byCheck, nil
}

func awaitStatus(t *testing.T, c dynamic.Interface, guard string, want findings, unjudged int64) {
	t.Helper()
	eventually(t, "status of guard "+guard, func(ctx context.Context) error {
		total, left, byCheck, err := status(ctx, c, guard)
		if err == nil && (total != int64(len(want)) || left != unjudged || !maps.Equal(byCheck, want.byCheck())) {
			err = fmt.Errorf("total %d, not judged %d, %v; want %d, %d, %v", total, left, byCheck, len(want), unjudged, want.byCheck())
		}
		return err
	})
}

// figures are the scan's gauges of one replica, by check; nil if it has none.
func figures(ctx context.Context, r *install.Replica) (map[string]int64, error) {
	families, err := r.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	if families["saguard_scan_objects"] == nil {
		return nil, nil
	}
	out := map[string]int64{}
	for _, m := range families["saguard_scan_violations"].GetMetric() {
		for _, l := range m.GetLabel() {
			if n := int64(m.GetGauge().GetValue()); l.GetName() == "check" && n > 0 {
				out[l.GetValue()] += n
			}
		}
	}
	return out, nil
}

// leaders are the replicas that have figures.
func leaders(ctx context.Context) ([]*install.Replica, error) {
	var out []*install.Replica
	for _, r := range shared.Service().Ready() {
		f, err := figures(ctx, r)
		if err != nil {
			return nil, err
		}
		if f != nil {
			out = append(out, r)
		}
	}
	return out, nil
}

func apply(t *testing.T, file string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shared.Kubectl(t.Context(), shared.Admin, "apply", "-f", path); err != nil {
		t.Fatal(err)
	}
}

func kubectl(t *testing.T, args ...string) {
	t.Helper()
	if _, err := shared.Kubectl(t.Context(), shared.Admin, args...); err != nil {
		t.Fatal(err)
	}
}

// openReports are the CRDs of the version that the product is built with.
func openReports(t *testing.T) string {
	t.Helper()
	root, err := install.Root()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "-C", root, "list", "-m", "-f", "{{.Dir}}", "github.com/openreports/reports-api").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "config", "crd")
}

// summary is that of a report: fail, warn, error. Zeros are what is not there.
func summary(ctx context.Context, r dynamic.ResourceInterface) ([3]int64, int, error) {
	o, err := r.Get(ctx, "saguard-scan", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return [3]int64{}, 0, nil
	}
	if err != nil {
		return [3]int64{}, 0, err
	}
	var out [3]int64
	for i, field := range []string{"fail", "warn", "error"} {
		if out[i], _, err = unstructured.NestedInt64(o.Object, "summary", field); err != nil {
			return out, 0, err
		}
	}
	results, _, err := unstructured.NestedSlice(o.Object, "results")
	return out, len(results), err
}

func awaitSummary(t *testing.T, what string, r dynamic.ResourceInterface, want [3]int64) {
	t.Helper()
	eventually(t, what, func(ctx context.Context) error {
		got, n, err := summary(ctx, r)
		if err == nil && (got != want || int64(n) != want[0]+want[1]+want[2]) {
			err = fmt.Errorf("fail, warn, error %v in %d results, want %v", got, n, want)
		}
		return err
	})
}

func TestScanOfWhatWasThereBefore(t *testing.T) {
	ctx := t.Context()
	if err := shared.CP.InstallCRDs(ctx, os.DirFS("../testdata/calico-crds")); err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(shared.CP.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	typed, err := kubernetes.NewForConfig(shared.CP.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	apply(t, "world.yaml")
	eventually(t, "the pod of the Deployment", func(ctx context.Context) error {
		pods, err := typed.CoreV1().Pods("prod").List(ctx, metav1.ListOptions{LabelSelector: "app=pay"})
		if err == nil && len(pods.Items) != 1 {
			err = fmt.Errorf("%d pods", len(pods.Items))
		}
		return err
	})
	if found, _, code := cli(t); len(found) > 0 || code != 0 {
		t.Fatalf("without a guard: %q, exit code %d", found, code)
	}

	apply(t, "guards.yaml")
	want := brownfield()
	// Of account web nobody knows who put its label.
	awaitStatus(t, objects, "strict", want, 1)
	// What has no namespace is every guard's.
	cluster := findings{"reserved-label x", "hollow-guard x", "hollow-guard x"}
	if total, _, byCheck, err := status(ctx, objects, "quiet"); err != nil || byCheck["label-use"]+byCheck["account-use"] > 0 || total > int64(len(cluster)) {
		t.Errorf("a guard of no namespace: %v, %v", byCheck, err)
	}
	if found, unjudged, code := cli(t); !slices.Equal(found, want) || unjudged != 1 || code != 3 {
		t.Errorf("exit code %d, %d not judged, found\n%s\nwant\n%s", code, unjudged, strings.Join(found, "\n"), strings.Join(want, "\n"))
	}
	var leader *install.Replica
	eventually(t, "the leader's figures", func(ctx context.Context) error {
		all, err := leaders(ctx)
		if err != nil || len(all) != 1 {
			return fmt.Errorf("%d of %d replicas have figures: %v", len(all), len(shared.Service().Ready()), err)
		}
		leader = all[0]
		got, err := figures(ctx, leader)
		if err == nil && !maps.Equal(got, want.byCheck()) {
			err = fmt.Errorf("figures %v", got)
		}
		return err
	})

	// The CRDs of OpenReports come later, and are found.
	if err := shared.CP.InstallCRDs(ctx, os.DirFS(openReports(t))); err != nil {
		t.Fatal(err)
	}
	awaitSummary(t, "the report of prod", objects.Resource(reports).Namespace("prod"), [3]int64{3, 1, 1})
	awaitSummary(t, "the report of the cluster", objects.Resource(clusterReports), [3]int64{1, 2, 0})
	if got, n, err := summary(ctx, objects.Resource(reports).Namespace("stage")); err != nil || n > 0 {
		t.Errorf("a report of a namespace that no guard holds in: %v, %v", got, err)
	}
	theAuthorLosesTheRight(t, typed, objects, want)
	theReplicaThatFollows(t, leader, objects, want)
	theCure(t, objects)
}

// theAuthorLosesTheRight: a label that somebody put who might, and may no longer.
func theAuthorLosesTheRight(t *testing.T, typed kubernetes.Interface, objects dynamic.Interface, want findings) {
	ctx := t.Context()
	alice, err := shared.CP.User("alice")
	if err != nil {
		t.Fatal(err)
	}
	c, err := kubernetes.NewForConfig(alice)
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "hers", Labels: map[string]string{"role": "trusted"}}}
	if _, err := c.CoreV1().ServiceAccounts("prod").Create(ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if found, _, _ := cli(t); !slices.Equal(found, want) {
		t.Errorf("while she may: found\n%s", strings.Join(found, "\n"))
	}
	if err := typed.RbacV1().RoleBindings("prod").Delete(ctx, "alice", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	without := slices.Sorted(slices.Values(append(slices.Clone(want), "label-use author-may-not ServiceAccount prod/hers")))
	if found, _, _ := cli(t); !slices.Equal(found, findings(without)) {
		t.Errorf("when she may no longer: found\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(without, "\n"))
	}
	awaitStatus(t, objects, "strict", without, 1)
	if err := typed.CoreV1().ServiceAccounts("prod").Delete(ctx, "hers", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, objects, "strict", want, 1)
}

// theReplicaThatFollows: when the leader goes, the other one scans, and the figures are the same.
func theReplicaThatFollows(t *testing.T, leader *install.Replica, objects dynamic.Interface, want findings) {
	ctx := t.Context()
	at := func(ctx context.Context) (string, error) {
		o, err := objects.Resource(guards).Get(ctx, "strict", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		text, _, err := unstructured.NestedString(o.Object, "status", "violations", "lastScan")
		return text, err
	}
	if err := leader.End(ctx, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	before, err := at(ctx)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a scan of the other replica", func(ctx context.Context) error {
		all, err := leaders(ctx)
		if err != nil || len(all) != 1 || all[0].Name == leader.Name {
			return fmt.Errorf("%d replicas have figures: %v", len(all), err)
		}
		got, err := figures(ctx, all[0])
		if err != nil || !maps.Equal(got, want.byCheck()) {
			return fmt.Errorf("figures %v: %v", got, err)
		}
		after, err := at(ctx)
		if err == nil && after == before {
			err = fmt.Errorf("last scan still %s", after)
		}
		return err
	})
}

// theCure: what was wrong is put right, and nothing of it is left anywhere.
func theCure(t *testing.T, objects dynamic.Interface) {
	ctx := t.Context()
	kubectl(t, "delete", "networkpolicies.projectcalico.org", "wide", "-n", "prod")
	kubectl(t, "label", "namespace", "prod", "pcns.team-")
	kubectl(t, "delete", "rolebinding", "to-default", "-n", "prod")
	kubectl(t, "delete", "clusterrolebinding", "gitops")
	kubectl(t, "label", "serviceaccount", "web", "role-", "-n", "prod")
	kubectl(t, "label", "serviceaccount", "payments", "role-", "-n", "prod")
	grant, err := shared.Saguard(ctx, shared.Admin, "grant", "use", "account", "payments", "-n", "prod", "--user", "carol")
	if err != nil || grant.Code != 0 {
		t.Fatalf("grant: %v %s", err, grant.Stderr)
	}
	if _, err := shared.KubectlStdin(ctx, shared.Admin, strings.NewReader(grant.Stdout), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, objects, "strict", nil, 0)
	found, unjudged, code := cli(t)
	if len(found) > 0 || unjudged > 0 || code != 0 {
		t.Errorf("exit code %d, %d not judged, found\n%s", code, unjudged, strings.Join(found, "\n"))
	}
	for what, r := range map[string]schema.GroupVersionResource{"reports": reports, "the report of the cluster": clusterReports} {
		eventually(t, what+" to be gone", func(ctx context.Context) error {
			list, err := objects.Resource(r).List(ctx, metav1.ListOptions{})
			if err == nil && len(list.Items) > 0 {
				err = fmt.Errorf("%d are left", len(list.Items))
			}
			return err
		})
	}
	eventually(t, "figures of zero", func(ctx context.Context) error {
		all, err := leaders(ctx)
		if err != nil || len(all) != 1 {
			return fmt.Errorf("%d replicas have figures: %v", len(all), err)
		}
		got, err := figures(ctx, all[0])
		if err == nil && !reflect.DeepEqual(got, map[string]int64{}) {
			err = fmt.Errorf("figures %v", got)
		}
		return err
	})
}
