package nodes_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/saguard/saguard/e2e/node"
)

const twoServersAndClients = `apiVersion: v1
kind: Service
metadata: {name: server}
spec: {selector: {app: server}, ports: [{name: tcp, port: 80, targetPort: 8080}, {name: udp, protocol: UDP, port: 53, targetPort: 8080}]}
---
`

func TestPodsOnTwoNodes(t *testing.T) {
	for name, o := range map[string]node.Options{
		"ptp and kube-proxy with nftables":    {},
		"bridge and kube-proxy with iptables": {CNI: node.Bridge, ProxyMode: "iptables"},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, o)
			admin := as(t, c.CP, "admin", "system:masters")
			admin.apply(twoServersAndClients +
				pod("server", "node-1", "default", "serve", "tcp:8080", "udp:8080") + pod("near", "node-1", "default") + pod("far", "node-2", "default"))
			admin.do("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
			ip := admin.do("get", "pod", "server", "-o", "jsonpath={.status.podIP}")
			service := admin.do("get", "service", "server", "-o", "jsonpath={.spec.clusterIP}")
			for _, client := range []string{"near", "far"} {
				for _, to := range []string{"tcp " + ip + ":8080", "udp " + ip + ":8080", "tcp " + service + ":80", "udp " + service + ":53"} {
					t.Run(client+" "+to, func(t *testing.T) {
						eventually(t, "an answer", func(ctx context.Context) error {
							network, address, _ := strings.Cut(to, " ")
							out, err := admin.try(ctx, "exec", client, "--", "/workload", "dial", network, address)
							if err == nil && out != "server heard hello\n" {
								err = fmt.Errorf("answer %q", out)
							}
							return err
						})
					})
				}
			}
			t.Run("the forward hook of the server's node sees both clients", func(t *testing.T) { testForwardHook(t, c, admin, ip) })
			t.Run("the kubelet hands out logs and mounts tokens", func(t *testing.T) {
				if out := admin.do("logs", "server"); !strings.Contains(out, "serving tcp:8080") {
					t.Errorf("logs: %q", out)
				}
				if out := admin.do("exec", "server", "--", "ls", "/var/run/secrets/kubernetes.io/serviceaccount"); !strings.Contains(out, "token") {
					t.Errorf("mounted: %q", out)
				}
			})
		})
	}
}

// testForwardHook drops the packets of each client in the hook that an agent works on: what the hook does not see, no agent
// can judge.
func testForwardHook(t *testing.T, c *node.Cluster, admin user, server string) {
	for _, client := range []string{"near", "far"} {
		from := admin.do("get", "pod", client, "-o", "jsonpath={.status.podIP}")
		dial := func(ctx context.Context) error {
			_, err := admin.try(ctx, "exec", client, "--", "/workload", "dial", "-patience=500ms", "tcp", server+":8080")
			return err
		}
		eventually(t, "an answer", dial)
		rules := fmt.Sprintf("table inet probe { chain forward { type filter hook forward priority 10; ip saddr %s ip daddr %s drop; }; }", from, server)
		if _, err := c.Nodes[0].Run(t.Context(), "nft", rules); err != nil {
			t.Fatal(err)
		}
		if err := dial(t.Context()); err == nil {
			t.Errorf("%s reaches the server although the forward hook drops its packets", client)
		}
		if _, err := c.Nodes[0].Run(t.Context(), "nft", "delete table inet probe"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "an answer without the rule", dial)
	}
}
