// Package selectorbench compares policy/selector with Calico's parser: what they answer, and how fast. It is a module of its own,
// so that nothing else depends on Calico's code.
package selectorbench
