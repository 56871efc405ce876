// Package nodeapi is what the agent of a node tells whoever is root there, over a unix socket: how it enforces, and what becomes
// of a connection and why.
package nodeapi
