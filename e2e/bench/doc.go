// Package bench measures what saguard costs on a real API server: the time of a label PATCH and the CPU of the webhook, next to
// an allow-all webhook of controller-runtime that is registered with the same rules and match conditions, and next to no
// webhook at all. Everything runs side by side in one control plane, and requests take turns. It has tests only; run it with
// `go test -run '^$' -bench . ./bench`.
package bench
