// Package nft enforces rulesets with nftables, for kernels that lack BPF netfilter links.
//
// # The table
//
// Everything is in one table, inet saguard_<number>: two chains at the FORWARD hook, one for each end of a connection, just before
// the priority "filter". There conntrack has put fragments together, destination translation is done and source translation is
// not. What an address set says is no endpoint is not looked at further. A packet goes
//
//	ingress                      replies and ICMP errors of known connections pass; is the destination an endpoint?
//	  ingress4                   which identity has the source? pods by hash, networks by disjoint intervals
//	    ingress4_identity_7      has the endpoint's program a row for that identity?
//	      ingress_row_12         which segment has the protocol and ports?
//	        ingress_allow_3      counter, report, verdict
//	    ingress4_default         the program's default row
//
// and the same with egress, and 6. The chains of rows and outcomes are shared by all that need them. There are no marks (kube-proxy
// needs them) and no key that comes out of a map (nft 1.0.6 aborts when it lists such a rule), so the place in the chains is all
// that a packet can remember.
//
// # Why identity first
//
// There are two ways to join an endpoint's program and a peer's identity. With the program first, each program has a map from peers'
// addresses: elements by programs and addresses, and with the ports in the key (saddr . l4proto . dport) also by ports, a counter
// each, which is memory by CPUs. With the identity first there is one element per address and direction, whatever the number of
// programs, and a set of the node's own few addresses per group of programs. With 10,000 pods and 100 programs that all have rows
// for all of them, that is 20,000 elements against 1,000,000.
//
// The price is that an element which goes to a chain makes the kernel walk the whole table before it commits: 1 ms at 15,000
// elements, 20 ms at 120,000; kernels that walk a chain again for every way that leads there take longer. An address that comes therefore goes to plain sets first, which are not walked (recent.go). So one pod costs four
// elements for each of its addresses and no walk.
//
// # Atomicity
//
// A transaction is one sendmsg, whatever its size: the socket's buffer is raised to hold it. The kernel takes it whole or not at
// all. A packet, though, is not judged in one moment. It meets the rules of the generation in which it came, but elements of the
// generation of each lookup, and chains that are younger than itself are empty to it. Under load this lets packets pass that no
// ruleset allows, and drops others. So
//
//   - addresses that come and go, each for itself, are changes of elements, in the order of elementPhases (batch.go): what is new,
//     what leads there, what changes, what goes; and what nothing leads to any more is deleted no sooner than 100 ms later;
//   - no element is replaced where packets look: an address that the verdict maps have with another identity is first put into a
//     map or into plain sets that hide them, until they have caught up;
//   - sets of intervals (networks, strangers) are never changed in place, but exchanged with the rules that refer to them;
//   - all other changes exchange sets for new ones, and write the rules anew that refer to them, in one commit: the rules that a
//     packet goes by then tell which elements it finds. Addresses whose identity changes at the same time are in a map that hides
//     the others, and which is one of the exchanged sets, until the others have caught up;
//   - names are not used again before what had them is deleted;
//   - [Applier.Sync] makes a new table beside the old one. Both judge, so a packet passes only what both allow. Then the old one
//     loses its rules, and after the kernel's grace period, its sets;
//   - an endpoint's packet that comes to no verdict is dropped.
//
// The reason for the second and the third is how kernels look up while they commit. Before Linux 6.17 a lookup that began before
// a commit may find neither the element that goes nor the one with the same key that comes; and a lookup in a tree of intervals
// may end at one that is not in force yet, and then finds nothing, during the whole of the transaction. Either way the packet would
// meet what is said of the surrounding network, or of nobody. enforce/appliertest counts what is lost and what gets through in
// floods under thousands of changes: nothing, on Linux 6.18.
//
// What is left are packets of flows that a change is about. Between an endpoint that goes and a peer that gets another identity one
// may meet the endpoint's old program with the peer's new identity; and one of an address in the plain sets may find no way on from
// the number of an identity that goes with the same change, until it has the new one. Both fail closed.
//
// A process that is killed leaves the table as the last commit left it: a ruleset, or one on its way to the next, or two that
// both have to allow. The next Sync ends that.
//
// # Ownership
//
// The table is not flagged "owner, persist": that needs Linux 6.9, where the BPF backend is the better choice. Everybody with
// CAP_NET_ADMIN can change it. [Applier.Verify] notices by the number of nftables' generation that somebody has committed
// something, and then compares all of the table with what it should be.
//
// Flowtables of others take packets past the FORWARD hook, and so past this package.
package nft
