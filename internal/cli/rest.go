package cli

import (
	"fmt"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
)

// Requests a second, and in a burst: as kubectl asks for discovery. The API server's own fairness protects it from more.
const (
	clientQPS   = 50
	clientBurst = 300
)

// restConfig is the configuration that kubectl would use.
func restConfig(flags *genericclioptions.ConfigFlags) (*rest.Config, error) {
	cfg, err := flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst, cfg.UserAgent = clientQPS, clientBurst, "kubectl-saguard"
	return cfg, nil
}
