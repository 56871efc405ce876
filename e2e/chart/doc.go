// Package chart renders the Helm chart of saguard with Helm's own library, so that tests and the demo apply to a real API
// server exactly what `helm install` would. It is a module of its own: Helm's dependencies stay out of every other one.
package chart
