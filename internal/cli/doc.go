// Package cli is the commands of `kubectl saguard`, one file each. A command turns flags into values, gathers what it needs
// (objects of files or of the cluster) and hands both to a pure core that is given its readers and writers.
//
// Results go to standard output; warnings, notes and errors to standard error.
package cli
