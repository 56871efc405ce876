package certificates

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
)

// Terms of the rotations: short, so that there are several.
const (
	validity, renewBefore, settle = 10 * time.Second, 7 * time.Second, time.Second
	secretName                    = "saguard-self-rotating"
)

var (
	shared *install.Installation
	api    *apiServer
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "saguard-certificates-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if api, err = newAPIServer(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return install.Around(context.Background(), 10*time.Minute, install.Options{
		ControlPlane: controlplane.Options{Log: os.Stderr, APIServerFlags: []string{"--admission-control-config-file=" + filepath.Join(dir, "admission.yaml")}},
		Replicas:     2,
		// The installation's own certificate is given up for the webhook's.
		Values: []string{"certificates.source=selfRotating", "certificates.secretName=", "webhook.caBundle=", "webhook.clientCA.configMapName=clients", "webhook.clientNames={" + apiServerName + "}"},
		WebhookArgs: []string{
			"--certificate-secret=" + secretName, "--certificate-name=saguard.saguard-system.svc", "--certificate-name=127.0.0.1",
			"--certificate-validity=" + validity.String(), "--certificate-renew-before=" + renewBefore.String(), "--certificate-settle=" + settle.String(),
			"--certificate-period=500ms", "--client-ca-file=" + filepath.Join(dir, "ca.crt"), "--client-name=" + apiServerName,
		},
		Log: os.Stderr,
	}, func(_ context.Context, i *install.Installation) int {
		shared = i
		return m.Run()
	})
}
