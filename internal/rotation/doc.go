// Package rotation decides how a webhook's serving certificate is replaced without a moment in which an API server does not
// trust what a replica serves. It is pure: it makes certificates and plans, and neither asks nor writes anything.
//
// A [Generation] is a CA and the one certificate that it ever signed; the CA's key is dropped at once, so no stored key can
// sign anything. All replicas share a [Store], which a Secret holds: the current generation, the next one, and the CAs of
// earlier ones. A rotation is three writes, each refused if its object was changed since it was read:
//
//  1. [Issue]: a new generation is put beside the current one, as next. Nobody serves it.
//  2. [Trust]: its CA is added to the caBundle of every webhook.
//  3. [Promote]: once every caBundle was seen to hold it for the settling time, next becomes current, and replicas serve it
//     when they have seen the same. A replica that is late serves the former one.
//
// An API server uses a caBundle of at most a settling time ago; that is the one assumption. A CA leaves a caBundle only when
// it has expired, and with it every certificate it signed, so a replica may be late by any time.
package rotation
