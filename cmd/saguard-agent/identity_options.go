package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/authz/extauthz"
)

// identityOptions are the flags of the identity check, which is off without trust domains.
type identityOptions struct {
	trustDomains        []string
	plaintextNamespaces []string
	forwarded           bool
	socket, jsonSocket  string
	socketGroup         int
	recordAllowed       bool
	recordRate          int
	address             string
	jsonAddress         string
	certDir, clientCA   string
	clients             []string
	proxies             *authz.Proxies // of clients
}

// overTCP reports whether anything is served on TCP.
func (i *identityOptions) overTCP() bool { return i.address != "" || i.jsonAddress != "" }

func (i *identityOptions) add(fs *pflag.FlagSet) {
	fs.StringSliceVar(&i.trustDomains, "authz-trust-domain", nil, "Trust domains of SPIFFE identities, pinned; they turn the identity check for Envoy on.")
	fs.StringVar(&i.socket, "authz-socket", "/run/saguard-authz/authz.sock", "Socket of the identity check by gRPC; empty turns it off.")
	fs.StringVar(&i.jsonSocket, "authz-json-socket", "", "Socket of the identity check by JSON; empty turns it off.")
	fs.IntVar(&i.socketGroup, "authz-socket-group", 0, "Group that may connect to the sockets of the identity check; 0 is the process's.")
	fs.StringSliceVar(&i.plaintextNamespaces, "authz-plaintext-namespace", nil, "Namespaces whose pods may be called without a usable certificate.")
	fs.BoolVar(&i.forwarded, "authz-forwarded-client-cert", false, "Take identities from X-Forwarded-Client-Cert; only where every proxy removes what clients send of it.")
	fs.BoolVar(&i.recordAllowed, "authz-record-allowed", false, "Record what the identity check allows, too.")
	fs.IntVar(&i.recordRate, "authz-record-rate", extauthz.DefaultRecordRate, "Records of refusals a minute for each source account, beyond the first of each kind; what is not recorded one by one is counted, and summed up each minute.")
	fs.StringVar(&i.address, "authz-bind-address", "", "TCP address of the identity check by gRPC, with mutual TLS; empty turns it off.")
	fs.StringVar(&i.jsonAddress, "authz-json-bind-address", "", "TCP address of the identity check by JSON, with mutual TLS; empty turns it off.")
	fs.StringVar(&i.certDir, "authz-cert-dir", "/etc/saguard/authz-tls", "Folder with tls.crt, tls.key and --authz-client-ca-name, read again when they change.")
	fs.StringVar(&i.clientCA, "authz-client-ca-name", "ca.crt", "File in --authz-cert-dir with the authorities that certificates of proxies must come from.")
	fs.StringSliceVar(&i.clients, "authz-client", nil, "Who may ask over TCP: SPIFFE IDs (a last segment * means all below) or DNS names, which the proxy's certificate must have. Needed for TCP.")
}

// complete checks the flags of the identity check.
func (i *identityOptions) complete() (errs []error) {
	if i.recordRate < 1 {
		errs = append(errs, fmt.Errorf("--authz-record-rate: %d: want 1 or more", i.recordRate))
	}
	if !i.overTCP() {
		if len(i.clients) > 0 {
			errs = append(errs, errors.New("--authz-client: nothing is served on TCP: needs --authz-bind-address or --authz-json-bind-address"))
		}
		return errs
	}
	if len(i.trustDomains) == 0 {
		errs = append(errs, errors.New("--authz-bind-address, --authz-json-bind-address: the identity check is off: needs --authz-trust-domain"))
	}
	for _, bind := range []struct{ flag, address string }{{"authz-bind-address", i.address}, {"authz-json-bind-address", i.jsonAddress}} {
		if bind.address == "" {
			continue
		}
		if _, port, err := net.SplitHostPort(bind.address); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", bind.flag, err))
		} else if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			errs = append(errs, fmt.Errorf("--%s: %q: want a port from 1 to 65535", bind.flag, bind.address))
		}
	}
	if i.address != "" && i.address == i.jsonAddress {
		errs = append(errs, fmt.Errorf("--authz-bind-address, --authz-json-bind-address: both are %s", i.address))
	}
	if i.certDir == "" || i.clientCA == "" || strings.ContainsRune(i.clientCA, '/') {
		errs = append(errs, errors.New("--authz-cert-dir, --authz-client-ca-name: want a folder, and the name of a file in it"))
	}
	var err error
	if i.proxies, err = authz.ParseProxies(i.clients); err != nil {
		errs = append(errs, fmt.Errorf("--authz-client: %w", err))
	}
	return errs
}
