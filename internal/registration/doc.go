// Package registration deals with the webhooks' registration with the API server: whether admission is in force, which
// `helm test` asks, and its end, before whatever answers the webhooks goes.
package registration
