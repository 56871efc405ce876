// Package extauthz serves the identity check of package authz to proxies: as Envoy's envoy.service.auth.v3.Authorization with
// gRPC health, and as POST /v1/check with JSON for proxies without gRPC, each on a unix socket (mode 0660) and, with mutual
// TLS, on TCP.
//
// What a client of the proxy can bring about is answered as a denial, not as an error: overload, a panic, a record that
// cannot be written. So a proxy that lets requests through on errors (failure_mode_allow) denies these all the same. Only
// what lies with the agent alone is an error: without a synced snapshot every check ends with UNAVAILABLE and health says
// NOT_SERVING; nothing is ever allowed for want of knowledge.
package extauthz
