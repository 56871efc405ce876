package run

import (
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func TestLeaseIsOwnedByTheAccountOfTheProcess(t *testing.T) {
	cases := map[string]struct {
		user    string
		account string
		owned   bool
	}{
		"an account of the namespace":     {user: "system:serviceaccount:ours:webhook", account: "webhook", owned: true},
		"an account of another namespace": {user: "system:serviceaccount:theirs:webhook", account: "webhook"},
		"a user":                          {user: "alice", account: "webhook"},
		"an account that is gone":         {user: "system:serviceaccount:ours:webhook", account: "other"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(
				&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ours", Name: "election"}},
				&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ours", Name: tc.account, UID: "u1"}},
			)
			client.PrependReactor("create", "selfsubjectreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, &authenticationv1.SelfSubjectReview{Status: authenticationv1.SelfSubjectReviewStatus{UserInfo: authenticationv1.UserInfo{Username: tc.user}}}, nil
			})
			l := &Leader{Namespace: "ours", Name: "election"}
			if err := l.own(t.Context(), client); (err == nil) != tc.owned {
				t.Errorf("error %v", err)
			}
			lease, err := client.CoordinationV1().Leases("ours").Get(t.Context(), "election", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if owners := lease.OwnerReferences; (len(owners) == 1 && owners[0].UID == "u1" && owners[0].Kind == "ServiceAccount") != tc.owned {
				t.Errorf("owners %v", owners)
			}
		})
	}
}
