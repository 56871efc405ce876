package controlplane

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// AdminConfig is a client configuration of a member of system:masters, whom
// RBAC is never asked about. Each call returns a copy.
func (cp *ControlPlane) AdminConfig() *rest.Config { return rest.CopyConfig(cp.admin) }

// User is a client configuration with a certificate for the user. It works for
// a week, and has no client-side rate limit. A certificate holds groups as a
// set: their order is not kept. The API server adds system:authenticated.
func (cp *ControlPlane) User(name string, groups ...string) (*rest.Config, error) {
	pair, err := cp.ClientCert(name, groups...)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: cp.URL(),
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   cp.CABundle(),
			CertData: pair.Cert,
			KeyData:  pair.Key,
		},
		QPS: -1,
	}, nil
}

// ClientCert is a certificate the API server reads as this user with these
// groups, for what is not configured by a rest.Config.
func (cp *ControlPlane) ClientCert(name string, groups ...string) (KeyPair, error) {
	return cp.authority.client(name, groups)
}

// ServingCert is a certificate for a server of a test, such as a webhook, signed
// by the authority CABundle is the certificate of.
func (cp *ControlPlane) ServingCert(dnsNames []string, ips []net.IP) (KeyPair, error) {
	return cp.authority.serving(dnsNames, ips)
}

// CABundle is the PEM-encoded certificate of the control plane's one authority:
// what clients of the API server trust, and the caBundle of webhooks.
func (cp *ControlPlane) CABundle() []byte { return append([]byte(nil), cp.authority.pem...) }

// Kubeconfig writes a kubeconfig for the user into the control plane's folder,
// with certificate and key inside, and returns its path. Each call makes a file.
func (cp *ControlPlane) Kubeconfig(name string, groups ...string) (path string, err error) {
	return cp.writeKubeconfig(cp.URL(), name, groups)
}

// NetNSURL is the API server's in the network namespace it runs in; see
// [Options.NetNS]. Without one it is the same as URL.
func (cp *ControlPlane) NetNSURL() string {
	if cp.options.NetNS == "" {
		return cp.URL()
	}
	return "https://" + net.JoinHostPort(cp.options.BindAddress, strconv.Itoa(cp.address.listen()))
}

// EncodeKubeconfig is what Kubeconfig writes, for an address of the API server's.
func (cp *ControlPlane) EncodeKubeconfig(url, name string, groups ...string) ([]byte, error) {
	user, err := cp.User(name, groups...)
	if err != nil {
		return nil, err
	}
	raw, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			"saguard": {Server: url, CertificateAuthorityData: user.CAData},
		},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{
			"user": {ClientCertificateData: user.CertData, ClientKeyData: user.KeyData},
		},
		Contexts:       map[string]*clientcmdapi.Context{"saguard": {Cluster: "saguard", AuthInfo: "user"}},
		CurrentContext: "saguard",
	})
	if err != nil {
		return nil, fmt.Errorf("encode a kubeconfig for %q: %w", name, err)
	}
	return raw, nil
}

func (cp *ControlPlane) writeKubeconfig(url, name string, groups []string) (path string, err error) {
	raw, err := cp.EncodeKubeconfig(url, name, groups...)
	if err != nil {
		return "", err
	}
	file, err := os.CreateTemp(cp.folder.path, "kubeconfig-*.yaml") // mode 0600
	if err != nil {
		return "", fmt.Errorf("write a kubeconfig for %q: %w", name, err)
	}
	if _, err := file.Write(raw); err != nil {
		_ = file.Close()
		return "", fmt.Errorf("write a kubeconfig for %q: %w", name, err)
	}
	if err := file.Close(); err != nil {
		return "", fmt.Errorf("write a kubeconfig for %q: %w", name, err)
	}
	return file.Name(), nil
}
