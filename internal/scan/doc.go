// Package scan says which existing things admission would refuse today. It runs the webhook's own checks on each object as a CREATE by
// nobody in particular, and asks of every permission whether it is granted to anybody by name; where it is known who wrote something, whether
// they still may. It reads nothing itself: objects are handed to it one by one, and it keeps none.
//
// What it cannot judge it says so, and never counts as clean.
package scan
