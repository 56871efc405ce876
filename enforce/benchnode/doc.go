// Command benchnode measures what enforcement costs on a node, on the kernel it runs on, as root:
//
//	go run ./enforce/benchnode [-rounds 20] [-only packets,events,memory]
//
// It prints one JSON object, and the same as tables on standard error. It has three parts, in processes of their own.
//
// packets: processor time per packet or connection. Each configuration has a node and two pods in network namespaces. All are
// set up before the first round, each round takes all of them in another order, and what counts is the median over the rounds
// of the ratio to a baseline of the same round, so that what else the machine does mostly drops out. The time is that of the
// client's and the server's threads, in which the kernel forwards their packets, and of ksoftirqd; all on one processor. The
// baseline is conntrack alone: a node that knows connections and judges nothing; bpf_accept has a BPF program on the hook, too,
// that accepts everything, which is what no BPF backend can go below. Beside them stand rules as others write them:
// the form of Felix (dispatch by address to a chain per endpoint, a chain per policy, a set per account) and a linear list. Both
// let established connections pass by conntrack, which our backends do for replies only: a revoked permission cuts a connection.
//
// events: the time from an event, as the bytes of its object, to the kernel holding the rules: decoding, parsing,
// internal/state, compiling and the backend, in the agent's own loop with its interval; not the API server, HTTP and the
// Reflector. Only events that change rules count. Each is sent as soon
// as the one before is in force, so the loop's interval of a millisecond is in the times. The account that 1,000 or 10,000 pods
// wear is the label change of the targets; that of an account as there are many is beside it.
//
// memory: what a process that does nothing else has resident.
package main
