package extauthz_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httpauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ext_authz/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"sigs.k8s.io/yaml"
)

// blocks are the YAML blocks of a page.
func blocks(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, match := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		out = append(out, match[1])
	}
	return out
}

func fromYAML(t *testing.T, text string) any {
	t.Helper()
	var out any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// at follows keys through what fromYAML returns.
func at(t *testing.T, v any, keys ...string) any {
	t.Helper()
	for _, key := range keys {
		m, ok := v.(map[string]any)
		if !ok || m[key] == nil {
			t.Fatalf("no %s in %v", key, v)
		}
		v = m[key]
	}
	return v
}

// mustAccept reads configuration as Envoy does, into its own types with unknown fields refused, and asks the constraints that
// those types declare, in what Any fields hold as well. It returns how many ext_authz filters and TLS contexts there are, all
// of which have to fail closed.
func mustAccept(t *testing.T, config any, into proto.Message) (filters, contexts int) {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(raw, into); err != nil {
		t.Fatalf("%T: %v", into, err)
	}
	err = protorange.Range(into.ProtoReflect(), func(v protopath.Values) error {
		message, ok := v.Index(-1).Value.Interface().(protoreflect.Message)
		if !ok {
			return nil
		}
		switch m := message.Interface().(type) {
		case *httpauthzv3.ExtAuthz:
			filters++
			if m.GetFailureModeAllow() || m.GetGrpcService().GetEnvoyGrpc().GetClusterName() != "saguard-authz" || m.GetTransportApiVersion().String() != "V3" {
				return fmt.Errorf("HTTP filter %v", m)
			}
		case *authzv3.ExtAuthz:
			filters++
			if m.GetFailureModeAllow() || m.GetGrpcService().GetEnvoyGrpc().GetClusterName() != "saguard-authz" || m.GetTransportApiVersion().String() != "V3" {
				return fmt.Errorf("network filter %v", m)
			}
		case *tlsv3.DownstreamTlsContext:
			contexts++
			if !m.GetRequireClientCertificate().GetValue() || len(m.GetCommonTlsContext().GetValidationContext().GetMatchTypedSubjectAltNames()) == 0 {
				return fmt.Errorf("clients without certificate, or with any: %v", m)
			}
		case *tlsv3.UpstreamTlsContext:
			contexts++
			common := m.GetCommonTlsContext()
			names := append(common.GetValidationContext().GetMatchTypedSubjectAltNames(), common.GetCombinedValidationContext().GetDefaultValidationContext().GetMatchTypedSubjectAltNames()...)
			if len(names) != 1 || names[0].GetMatcher().GetExact() != m.GetSni() || len(common.GetTlsCertificates())+len(common.GetTlsCertificateSdsSecretConfigs()) != 1 {
				return fmt.Errorf("the agent is not verified, or no certificate is presented: %v", m)
			}
		}
		if constrained, ok := message.Interface().(interface{ ValidateAll() error }); ok {
			if err := constrained.ValidateAll(); err != nil {
				return fmt.Errorf("%s: %w", v.Path, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("%T: %v", into, err)
	}
	return filters, contexts
}

func TestEnvoyAcceptsTheBootstrapOfTheDocs(t *testing.T) {
	found := blocks(t, "envoy.md")
	if len(found) != 2 {
		t.Fatalf("%d blocks of YAML, want the bootstrap and the cluster over TCP", len(found))
	}
	bootstrap := fromYAML(t, found[0])
	if filters, contexts := mustAccept(t, bootstrap, &bootstrapv3.Bootstrap{}); filters != 2 || contexts != 2 {
		t.Errorf("%d filters and %d TLS contexts, want 2 and 2", filters, contexts)
	}
	clusters, ok := fromYAML(t, found[1]).([]any)
	if !ok || len(clusters) != 1 {
		t.Fatalf("the cluster over TCP is %v", found[1])
	}
	if _, contexts := mustAccept(t, clusters[0], &clusterv3.Cluster{}); contexts != 1 {
		t.Errorf("%d TLS contexts, want 1", contexts)
	}
}

func TestEnvoyAcceptsTheFiltersOfTheDocs(t *testing.T) {
	filters, contexts, patches := 0, 0, 0
	for _, block := range blocks(t, "istio.md") {
		if strings.HasPrefix(strings.TrimSpace(block), "value:") {
			_, c := mustAccept(t, at(t, fromYAML(t, block), "value"), &clusterv3.Cluster{})
			contexts += c
			continue
		}
		if !strings.Contains(block, "kind: EnvoyFilter") {
			continue
		}
		list, ok := at(t, fromYAML(t, block), "spec", "configPatches").([]any)
		if !ok {
			t.Fatal("no patches")
		}
		for _, patch := range list {
			patches++
			into := map[string]proto.Message{"CLUSTER": &clusterv3.Cluster{}, "HTTP_FILTER": &hcmv3.HttpFilter{}, "NETWORK_FILTER": &listenerv3.Filter{}}
			kind, ok := at(t, patch, "applyTo").(string)
			if !ok || into[kind] == nil {
				t.Fatalf("a patch of %v", patch)
			}
			n, _ := mustAccept(t, at(t, patch, "patch", "value"), into[kind])
			filters += n
		}
	}
	if filters != 2 || contexts != 1 || patches != 3 {
		t.Errorf("%d filters in %d patches and %d TLS contexts, want 2, 3 and 1", filters, patches, contexts)
	}
}
