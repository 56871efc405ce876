// Package certificates rotates the webhook's certificate on a real API server while requests that the webhook judges keep
// coming, and breaks what the rotation rests on: the Secret and the caBundles. It prints what each drill cost.
package certificates
