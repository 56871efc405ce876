package chart

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// Over TCP, every proxy has to reach the agent of its own node, and the agent has to start without its certificate, since it
// enforces packets as well.
func TestIdentityCheckOverTCP(t *testing.T) {
	const values = `{agent: {enabled: true, identityCheck: {trustDomains: [cluster.local], tcp: {enabled: true, jsonPort: 9649, secretName: authz, clients: ["spiffe://cluster.local/ns/mesh/*"]}}}}`
	rendered := ofAgent(t, render(t, values))
	d := one[*appsv1.DaemonSet](t, rendered)
	pod := d.Spec.Template
	for _, want := range []string{
		"--authz-bind-address=:9648", "--authz-json-bind-address=:9649", "--authz-cert-dir=/etc/saguard/authz-tls", "--authz-client-ca-name=ca.crt",
		"--authz-client=spiffe://cluster.local/ns/mesh/*", "--authz-socket=/run/saguard-authz/authz.sock",
	} {
		if !slices.Contains(pod.Spec.Containers[0].Args, want) {
			t.Errorf("no %s in %q", want, pod.Spec.Containers[0].Args)
		}
	}

	service := one[*corev1.Service](t, rendered)
	if p := service.Spec.InternalTrafficPolicy; p == nil || *p != corev1.ServiceInternalTrafficPolicyLocal {
		t.Errorf("proxies are led to other nodes: %v", p)
	}
	if !service.Spec.PublishNotReadyAddresses {
		t.Error("an agent that is not ready for another reason is taken away from proxies")
	}
	for k, v := range service.Spec.Selector {
		if pod.Labels[k] != v {
			t.Errorf("the Service selects %s=%s, the pods have %q", k, v, pod.Labels[k])
		}
	}
	ports := map[string]int32{}
	for _, p := range pod.Spec.Containers[0].Ports {
		if p.HostPort != p.ContainerPort {
			t.Errorf("port %s: %d of the pod is %d of the node, whose network it is on", p.Name, p.ContainerPort, p.HostPort)
		}
		ports[p.Name] = p.ContainerPort
	}
	var served []int32
	for _, p := range service.Spec.Ports {
		if ports[p.TargetPort.StrVal] != p.Port {
			t.Errorf("port %d leads to %s, which is %d", p.Port, p.TargetPort.StrVal, ports[p.TargetPort.StrVal])
		}
		served = append(served, p.Port)
	}
	if !slices.Equal(served, []int32{9648, 9649}) {
		t.Errorf("the Service has ports %v", served)
	}

	var source *corev1.SecretVolumeSource
	for _, v := range pod.Spec.Volumes {
		if v.Name == "authz-tls" {
			source = v.Secret
		}
	}
	if source == nil || source.SecretName != "authz" || source.Optional == nil || !*source.Optional || len(source.Items) > 0 {
		t.Errorf("the certificate comes from %+v", source)
	}
	mounted := slices.ContainsFunc(pod.Spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.Name == "authz-tls" && m.MountPath == "/etc/saguard/authz-tls" && m.ReadOnly && m.SubPath == ""
	})
	if !mounted {
		t.Error("the certificate is not mounted as a folder: a changed Secret would not arrive")
	}
}

func TestIdentityCheckIsOnNoPortUnlessAsked(t *testing.T) {
	for name, values := range map[string]string{
		"by default":       `{agent: {enabled: true, identityCheck: {trustDomains: [d]}}}`,
		"without an agent": `{agent: {identityCheck: {trustDomains: [d], tcp: {enabled: true, secretName: s, clients: [c]}}}}`,
		"while cleaning":   `{agent: {enabled: true, cleanup: true, identityCheck: {trustDomains: [d], tcp: {enabled: true, secretName: s, clients: [c]}}}}`,
	} {
		for _, o := range ofAgent(t, render(t, values)).Objects {
			if o.GetKind() == "Service" {
				t.Errorf("%s: there is a Service", name)
			}
			text, err := o.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"authz-bind-address", "authz-tls", "9648"} {
				if strings.Contains(string(text), word) {
					t.Errorf("%s: %s has %s", name, o.GetKind(), word)
				}
			}
		}
	}
}
