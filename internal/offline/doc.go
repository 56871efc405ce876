// Package offline is the pure core of the commands that work on manifests instead of a cluster: it reads objects and
// flows, asks policy and policy/eval, and writes results. It opens the files it is told to and nothing else.
package offline
