package extauthz

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// Names of the files of a certificate and its key in a folder, as in Secrets of type kubernetes.io/tls.
const (
	fileCertificate = "tls.crt"
	fileKey         = "tls.key"
)

// maxCredentialBytes bounds each file that is read.
const maxCredentialBytes = 1 << 20

// Folder is [Credentials] in files: tls.crt, tls.key, and the authorities of proxies' certificates. They are read again
// and again, and take effect together once all three can be read and fit; until then the last ones that did are in force.
// A folder that never could be read serves nobody (fails closed).
type Folder struct {
	dir, authorities string
	log              logr.Logger
	current          atomic.Pointer[loaded]
	whyStale         atomic.Pointer[string]
}

type loaded struct {
	files       [3][]byte
	certificate tls.Certificate
	authorities *x509.CertPool
}

// NewFolder reads the files in dir; authorities is the name of the file with the authorities. What is wrong with them is said
// by WhyStale, not by an error: whatever else the process does goes on.
func NewFolder(dir, authorities string, log logr.Logger) *Folder {
	f := &Folder{dir: dir, authorities: authorities, log: log}
	f.Reload()
	return f
}

// Current implements Credentials.
func (f *Folder) Current() (*tls.Certificate, *x509.CertPool, error) {
	l := f.current.Load()
	if l == nil {
		return nil, nil, errNoCredentials
	}
	return &l.certificate, l.authorities, nil
}

// GetCertificate is Current with the signature of tls.Config's field, for probes and metrics.
func (f *Folder) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	certificate, _, err := f.Current()
	return certificate, err
}

// WhyStale returns why the files are not what is in force, "" if they are; it is a run.Probe.
func (f *Folder) WhyStale() string {
	if why := f.whyStale.Load(); why != nil {
		return *why
	}
	return ""
}

// Run reads the files at each tick until ctx ends.
func (f *Folder) Run(ctx context.Context, ticks <-chan time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
			f.Reload()
		}
	}
}

// Reload reads the files now. It is for one goroutine at a time.
func (f *Folder) Reload() {
	before := f.WhyStale()
	changed, err := f.load()
	why := ""
	if err != nil {
		why = err.Error()
	}
	f.whyStale.Store(&why)
	switch {
	case why != "" && why != before:
		f.log.Info("credentials cannot be used; those that were read last stay in force", "folder", f.dir, "error", why)
	case changed:
		f.log.Info("credentials read", "folder", f.dir)
	}
}

func (f *Folder) load() (changed bool, err error) {
	next := &loaded{}
	for i, name := range []string{fileCertificate, fileKey, f.authorities} {
		if next.files[i], err = readBounded(filepath.Join(f.dir, name)); err != nil {
			return false, err
		}
	}
	if have := f.current.Load(); have != nil && bytes.Equal(have.files[0], next.files[0]) && bytes.Equal(have.files[1], next.files[1]) && bytes.Equal(have.files[2], next.files[2]) {
		return false, nil
	}
	if next.certificate, err = tls.X509KeyPair(next.files[0], next.files[1]); err != nil {
		return false, fmt.Errorf("load certificate of %s: %w", f.dir, err)
	}
	next.authorities = x509.NewCertPool()
	if !next.authorities.AppendCertsFromPEM(next.files[2]) {
		return false, fmt.Errorf("load authorities: no certificate in %s", filepath.Join(f.dir, f.authorities))
	}
	f.current.Store(next)
	return true, nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxCredentialBytes {
		return nil, fmt.Errorf("read credentials: %s: not a regular file of at most %d bytes", path, maxCredentialBytes)
	}
	out, err := os.ReadFile(path) //nolint:gosec // the folder is a flag of the administrator's
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	return out, nil
}
